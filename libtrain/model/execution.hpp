#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "libtrain/autograd/functions.hpp"

namespace train {

/// How a layer's matrix lies on the ranks that share one copy of the model.
enum class Split : std::uint8_t {
  replicated,  ///< every rank has all of it
  column,      ///< by output features: each rank computes some of them for all rows
  row,         ///< by input features: each rank's product is a summand of the output
  vocabulary,  ///< by tokens
};

/// What a layer does in the model, hence how it can be split.
enum class LayerKind : std::uint8_t {
  embedding,  ///< tokens to the residual stream
  norm,
  reader,  ///< a linear layer that reads the residual stream: column or replicated
  writer,  ///< the linear layer after it, back into the stream: row or replicated
  head,    ///< the residual stream to a loss over the vocabulary
};

/// What the features between a reader and its writer are: they are split alike.
enum class Features : std::uint8_t { none, heads, hidden };

/// One layer of a model: its tensors, and how they are split. Plain data, the model's own.
struct Layer {
  std::string name;
  LayerKind kind;
  Features features = Features::none;
  Parameter* weight = nullptr;
  Parameter* bias = nullptr;  ///< an embedding's positions; nullptr where there is none
  Split split = Split::replicated;
};

/// The attention heads that this rank computes.
struct HeadRange {
  std::int64_t first_head = 0;
  std::int64_t heads = 0;
  std::int64_t first_kv_head = 0;
  std::int64_t kv_heads = 0;
};

/// Runs a model's layers. This one runs them on the device alone; parallelize() puts in its place
/// one that talks to other ranks, while the model's code stays the same.
class Execution {
 public:
  virtual ~Execution() = default;

  /// Rows of the residual stream for `tokens` (see train::embedding).
  virtual Value embedding(Tape& tape, const Layer& layer, std::span<const std::int32_t> tokens,
                          const RowPositions& places) const;
  /// act(x · weightᵀ + bias) of a reader or a writer; `rows` are those of all ranks together.
  virtual Value linear(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows,
                       Activation activation) const;
  /// Queries, keys and values of this rank's rows as attention takes them: those of heads(), of
  /// whole sequences.
  virtual Value to_sequences(Tape&, Value qkv, const AttentionShape&) const { return qkv; }
  /// The way back for what attention makes of them: this rank's rows, of all heads.
  virtual Value from_sequences(Tape&, Value out, const AttentionShape&) const { return out; }
  /// See train::linear_cross_entropy.
  virtual RowLosses loss(Tape& tape, const Layer& layer, const Value& x,
                         std::span<const std::int32_t> targets, float scale) const;
  /// Of all rows, from what loss() said of this rank's; collective where ranks share them.
  virtual std::vector<double> all_losses(std::vector<double> own, std::int64_t) const {
    return own;
  }
  /// Logits [rows, vocabulary] in f32, or f64 for a model in f64, on every rank.
  virtual Tensor logits(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows) const;

  /// This rank's part of `all`.
  virtual HeadRange heads(const HeadRange& all) const { return all; }
  /// The first of `rows` rows of the residual stream that this rank holds between the layers.
  virtual std::int64_t first_row(std::int64_t rows) const;
  /// True when this rank does not hold all rows.
  virtual bool splits_rows() const { return false; }
  /// Where it is so, another whose ranks do, for passes of too few rows to share and without a way
  /// back; else nullptr. This one must outlive it.
  virtual std::shared_ptr<const Execution> with_whole_rows() const { return nullptr; }
  /// Ranks that share a batch by its rows: its losses and gradients are sums over them.
  virtual int context_ranks() const { return 1; }
  /// Seconds that passes have waited for other ranks.
  virtual double seconds_waited() const { return 0.0; }
  /// Called after each such wait from now on.
  using WaitObserver = std::function<void(Clock::time_point begin, Clock::time_point end)>;
  virtual void observe_waits(WaitObserver) const {}
};

}  // namespace train

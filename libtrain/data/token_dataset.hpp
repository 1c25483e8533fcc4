#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libtrain/data/open_data.hpp"
#include "libtrain/data/token_source.hpp"
#include "libtrain/data/tokenizer.hpp"

namespace train {

struct TokenDatasetOptions {
  /// Tokens per sample. 0: the model's, which fit_model() brings.
  std::size_t context = 0;
  /// Draws the order of samples and where windows begin.
  std::uint64_t seed = 1;
  /// Share of the tokens, taken from the end, that training never sees, within [0, 1). Left open:
  /// 0.1 of a text if that holds a sample; else none, as token shards come with shards to validate.
  std::optional<double> validation_fraction = {};
  /// Files to validate with, instead of a share: names, folders, globs.
  std::vector<std::string> validation = {};
  /// `bytes`, `chars`, `gpt2:FILE`, `hf:FILE`; see open_data.
  std::string tokenizer = {};
};

/// Samples of `context` input tokens and the `context` tokens that follow each of them, from a
/// sequence of tokens, epoch after epoch for ever.
///
/// One epoch cuts the training tokens into windows that do not overlap, beginning at an offset that
/// changes from epoch to epoch so that window boundaries move, and visits each window once in an
/// order of its own. What lies at a position is a function of the position, the options and the
/// tokens alone: ranks share a batch by asking for different positions, and a checkpoint needs to
/// hold no more than the next position. Immutable but for fit_model(): threads may read at once.
class TokenDataset {
 public:
  using Options = TokenDatasetOptions;

  /// Opens files, folders and globs; see open_data.
  explicit TokenDataset(const std::string& pattern, const Options& options = {});
  explicit TokenDataset(const std::vector<std::string>& patterns, const Options& options = {});

  /// Data opened before, perhaps with a saved model's tokenizer (options.tokenizer is not used).
  explicit TokenDataset(Data data, const Options& options = {});

  /// Tokens from anywhere; the share to validate with defaults to none.
  explicit TokenDataset(std::shared_ptr<const TokenSource> source, const Options& options = {});

  /// Called once the model is known: takes its context where the options left it open, and from
  /// then on refuses ids that its vocabulary does not have. Throws Error if the options' context
  /// is longer than the model's, the tokenizer has more ids than the model, or the data are
  /// shorter than one sample.
  void fit_model(std::size_t context, std::int32_t vocabulary);

  /// Tokens per sample; 0 if not known yet.
  std::size_t context() const { return context_; }
  std::uint64_t train_tokens() const { return train_.tokens; }
  std::uint64_t validation_tokens() const { return validation_.tokens; }

  /// What training reads, in words that differ where sample order or tokens do: how many tokens, in
  /// samples of how many, and a hash of the seed and some thousands of them from all over, read
  /// once. "" as long as the context is not known.
  const std::string& identity() const { return identity_; }

  /// The text's tokenizer, or the one that was asked for; null for token files alone.
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }

  /// Texts to train on that follow each other without a mark; see Data.
  std::size_t unmarked_texts() const { return unmarked_texts_; }

  /// floor((train_tokens() - 1 - offset) / context()), where the epoch's offset is within
  /// [0, context()). Epochs count from 0.
  std::uint64_t samples_per_epoch(std::uint64_t epoch) const;

  /// Where a position lies. Costs up to context() short steps in late epochs of small data.
  struct EpochPosition {
    std::uint64_t epoch;
    std::uint64_t index;  ///< in the epoch's order
  };
  EpochPosition locate(std::uint64_t position) const;

  /// Copies the samples at positions [first, first + count), counted over all epochs from 0, to
  /// inputs and targets, both [count, context]. Throws Error naming file, position and id where a
  /// token is outside the model's vocabulary.
  void batch(std::uint64_t first, std::size_t count, std::span<std::int32_t> inputs,
             std::span<std::int32_t> targets) const;

  /// Windows to validate with; 0 if there is nothing held out.
  std::uint64_t validation_samples() const;

  /// Windows [first, first + count) of those, in plain order, the same for ever.
  void validation_batch(std::uint64_t first, std::size_t count, std::span<std::int32_t> inputs,
                        std::span<std::int32_t> targets) const;

 private:
  /// A stretch of a source.
  struct Part {
    std::shared_ptr<const TokenSource> source;
    std::uint64_t begin = 0;
    std::uint64_t tokens = 0;
  };

  /// Where the windows of one epoch begin, and how many they are.
  struct Windows {
    std::uint64_t offset;
    std::uint64_t count;
  };

  void hold_out(DataKind kind, const Options& options);
  void set_context(std::size_t context);
  std::string identify() const;
  void require_sample(const Part& part, const char* purpose) const;
  std::uint64_t offsets() const;
  Windows windows_of(std::uint64_t epoch) const;
  void read_sample(const Part& part, std::uint64_t begin, std::span<std::int32_t> window,
                   std::span<std::int32_t> input, std::span<std::int32_t> target) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::size_t unmarked_texts_;
  Part train_;
  Part validation_;
  bool validation_is_optional_ = false;  // held out by default, not by request
  std::uint64_t seed_;
  std::size_t context_ = 0;
  std::int32_t vocabulary_;
  std::string identity_;
};

}  // namespace train

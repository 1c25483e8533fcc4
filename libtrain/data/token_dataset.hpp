#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libtrain/data/mixture_pattern.hpp"
#include "libtrain/data/open_data.hpp"
#include "libtrain/data/sample_windows.hpp"
#include "libtrain/data/token_source.hpp"
#include "libtrain/data/tokenizer.hpp"

namespace train {

struct TokenDatasetOptions {
  /// Tokens per sample. 0: the model's, which fit_model() brings.
  std::size_t context = 0;
  /// Draws the order of samples and where windows begin.
  std::uint64_t seed = 1;
  /// Share of each source's tokens, taken from its end, that training never sees, within [0, 1).
  /// Left open: 0.1 of a text if that holds a sample; else none, as token shards come with shards
  /// to validate.
  std::optional<double> validation_fraction = {};
  /// Files to validate with, instead of a share: names, folders, globs, and weights of their own.
  std::vector<std::string> validation = {};
  /// `bytes`, `chars`, `gpt2:FILE`, `hf:FILE`; see open_data.
  std::string tokenizer = {};
};

/// Samples of `context` input tokens and the `context` tokens that follow each of them, from one
/// source of tokens or a mixture of several, for ever.
///
/// A mixture gives each source its weight's part of the samples: of any n that follow each other in
/// the order, w n of a source with the share w, give or take less than 4 (see MixturePattern).
/// A source reads its own samples epoch after epoch (see SampleWindows): each window of its
/// training tokens once, in an order drawn for it, before any comes again. So a mixture has neither
/// size nor epochs: small sources repeat, large ones are read in part; epochs_of() says how often.
///
/// What lies at a position is a function of the position, the options, the weights and the tokens
/// alone: ranks share a batch by asking for different positions, and a checkpoint needs to hold no
/// more than the next position. Immutable but for fit_model(): threads may read at once.
class TokenDataset {
 public:
  using Options = TokenDatasetOptions;

  /// Opens files, folders and globs, with weights among them for a mixture; see open_data.
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
  /// Of all sources together.
  std::uint64_t train_tokens() const;
  std::uint64_t validation_tokens() const;

  /// What a source gives to train or to validate with.
  struct Source {
    std::string name;  ///< as given, or its number from 1
    double share;      ///< of the samples, or of the loss: its weight of the sum of all
    std::uint64_t tokens;
    std::uint64_t samples;  ///< windows that these tokens are cut into, once the context is known
  };
  /// One, but for a mixture.
  std::vector<Source> training() const;

  /// What training reads, in words that differ where sample order or tokens do: how many tokens, in
  /// samples of how many, and a hash of the seed, the shares of a mixture, some thousands of each
  /// source's tokens from all over, and of several files, where each begins and the 256 tokens at
  /// both its ends; read once. What differs elsewhere only is not seen. "" as long as the context
  /// is not known.
  const std::string& identity() const { return identity_; }

  /// The text's tokenizer, or the one that was asked for; null for token files alone.
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }

  /// Texts to train on that follow each other without a mark; see Data.
  std::size_t unmarked_texts() const { return unmarked_texts_; }
  std::size_t empty_texts() const { return empty_texts_; }

  /// How many samples a source has in one of its epochs, which count from 0.
  std::uint64_t samples_per_epoch(std::uint64_t epoch, std::size_t source = 0) const;

  /// Where a position lies.
  struct Place {
    std::size_t source;
    std::uint64_t epoch;  ///< of the source
    std::uint64_t index;  ///< in the epoch's order
  };
  Place locate(std::uint64_t position) const;

  /// How often a source has been read by the samples at positions below `end`.
  double epochs_of(std::size_t source, std::uint64_t end) const;

  /// Copies the samples at positions [first, first + count), counted from 0, to
  /// inputs and targets, both [count, context]. Throws Error naming file, position and id where a
  /// token is outside the model's vocabulary.
  void batch(std::uint64_t first, std::size_t count, std::span<std::int32_t> inputs,
             std::span<std::int32_t> targets) const;

  /// What is held out, by source: each source's tail, or `validation`'s sources, and no source that
  /// has nothing to validate with. The loss of a mixture is the mean of its sources' mean losses,
  /// weighted by their shares of what is there: the loss that training lowers, on held-out text.
  std::vector<Source> validation() const;

  /// Windows to validate with, of all sources; 0 if there is nothing held out.
  std::uint64_t validation_samples() const;

  /// Windows [first, first + count) of those, in plain order, source by source; the same for ever.
  void validation_batch(std::uint64_t first, std::size_t count, std::span<std::int32_t> inputs,
                        std::span<std::int32_t> targets) const;

  /// What is held out in words that differ where evaluations do: how many tokens, the weights of
  /// a mixture, and a hash as identity() has one. "" as long as the context is not known.
  const std::string& held_out() const { return held_out_; }

 private:
  /// A stretch of a source.
  struct Part {
    std::shared_ptr<const TokenSource> source;
    std::uint64_t begin;
    std::uint64_t tokens;
    std::string name;
    double weight;
  };
  using Parts = std::vector<Part>;

  void hold_out_share(const std::vector<DataSource>& sources, const Options& options);
  void hold_out_files(const std::vector<DataSource>& sources, const Options& options);
  void set_context(std::size_t context);
  std::string identify() const;
  std::string describe_held_out() const;
  void require_sample(const Part& part, const char* purpose) const;
  std::uint64_t windows_in(const Part& part) const { return (part.tokens - 1) / context_; }
  void read_sample(const Part& part, std::uint64_t begin, std::span<std::int32_t> window,
                   std::span<std::int32_t> input, std::span<std::int32_t> target) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::size_t unmarked_texts_;
  std::size_t empty_texts_;
  Parts train_;
  Parts validation_;
  bool validation_is_optional_ = false;  // held out by default, not by request
  std::uint64_t seed_;
  std::size_t context_ = 0;
  std::int32_t vocabulary_;
  MixturePattern pattern_;
  std::vector<SampleWindows> windows_;  // of each source, once the context is known
  std::string identity_;
  std::string held_out_;
};

}  // namespace train

#include "libtrain/data/token_dataset.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include "collectives/error.hpp"
#include "libtrain/data/token_probe.hpp"

namespace train {
namespace {

/// Sources of a mixture draw their orders apart; the first one draws as it does alone.
std::uint64_t seed_of(std::uint64_t seed, std::size_t source) {
  return seed + source * 0x9e3779b97f4a7c15u;
}

std::vector<double> weights_of(const std::vector<DataSource>& sources) {
  std::vector<double> weights;
  for (const DataSource& source : sources) weights.push_back(source.weight);
  return weights;
}

/// What parts of a data set give, each with its weight's part of the sum.
template <typename Parts>
std::vector<TokenDataset::Source> describe(const Parts& parts, std::size_t context) {
  double largest = 0.0, sum = 0.0;  // a sum of parts of the largest cannot overflow
  for (const auto& part : parts) largest = std::max(largest, part.weight);
  for (const auto& part : parts) sum += part.weight / largest;
  std::vector<TokenDataset::Source> sources;
  for (const auto& part : parts) {
    const std::uint64_t windows = context > 0 && part.tokens > 0 ? (part.tokens - 1) / context : 0;
    sources.push_back({part.name, part.weight / largest / sum, part.tokens, windows});
  }
  return sources;
}

/// Of what tells data apart.
class Hash {
 public:
  explicit Hash(std::uint64_t seed) : value_(seed) {}

  template <typename Values>
  void add(const Values& values) {
    const auto bytes = std::as_bytes(std::span(values));
    value_ = XXH3_64bits_withSeed(bytes.data(), bytes.size(), value_);
  }

  void add_tokens(const TokenSource& source, std::uint64_t begin, std::uint64_t tokens) {
    const bool is_cut = !source.file_starts().empty();  // where, is part of it
    probe_tokens(source, begin, tokens, [&](std::uint64_t at, auto ids) {
      if (is_cut) add(std::array{at});
      add(ids);
    });
  }

  std::uint64_t value() const { return value_; }

 private:
  XXH64_hash_t value_;
};

template <typename Parts>
std::uint64_t tokens_in(const Parts& parts) {
  std::uint64_t tokens = 0;
  for (const auto& part : parts) tokens += part.tokens;
  return tokens;
}

}  // namespace

TokenDataset::TokenDataset(const std::string& pattern, const Options& options)
    : TokenDataset(std::vector<std::string>{pattern}, options) {}

TokenDataset::TokenDataset(const std::vector<std::string>& patterns, const Options& options)
    : TokenDataset(open_data(patterns, options.tokenizer), options) {}

TokenDataset::TokenDataset(std::shared_ptr<const TokenSource> source, const Options& options)
    : TokenDataset(Data{{{std::move(source), DataKind::llmc_shards}}, nullptr}, options) {}

TokenDataset::TokenDataset(Data data, const Options& options)
    : tokenizer_(std::move(data.tokenizer)),
      unmarked_texts_(data.unmarked_texts),
      empty_texts_(data.empty_texts),
      seed_(options.seed),
      vocabulary_(std::numeric_limits<std::int32_t>::max()),
      pattern_(weights_of(data.sources)) {
  for (const DataSource& source : data.sources) {
    train_.push_back({source.tokens, 0, source.tokens->size(), source.name, source.weight});
  }
  if (options.validation.empty()) {
    hold_out_share(data.sources, options);
  } else {
    hold_out_files(data.sources, options);
  }
  if (options.context > 0) set_context(options.context);
}

void TokenDataset::hold_out_files(const std::vector<DataSource>& sources, const Options& options) {
  if (options.validation_fraction.value_or(0) != 0) {
    throw Error("files to validate with and a share of the data to validate with: give one");
  }
  const auto is_text = [](const DataSource& source) { return source.kind == DataKind::text; };
  for (const DataSource& held : open_data(options.validation, tokenizer_).sources) {
    if (std::ranges::count(sources, is_text(held), is_text) == 0) {
      throw Error(
          fmt::format("{} is to train with, {} to validate with: text and token files "
                      "cannot be compared",
                      sources.front().tokens->name(), held.tokens->name()));
    }
    validation_.push_back({held.tokens, 0, held.tokens->size(), held.name, held.weight});
  }
}

void TokenDataset::hold_out_share(const std::vector<DataSource>& sources, const Options& options) {
  validation_is_optional_ = !options.validation_fraction;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const bool is_text = sources[i].kind == DataKind::text;
    const double share = options.validation_fraction.value_or(is_text ? 0.1 : 0.0);
    if (!(share >= 0 && share < 1)) {
      throw Error(
          fmt::format("the share to validate with is {}, expected at least 0 and below 1", share));
    }
    const std::uint64_t total = train_[i].tokens;
    train_[i].tokens = static_cast<std::uint64_t>(static_cast<double>(total) * (1 - share));
    if (share == 0) train_[i].tokens = total;  // beyond 2^53 the product rounds
    validation_.push_back(train_[i]);
    validation_.back().begin = train_[i].tokens;
    validation_.back().tokens = total - train_[i].tokens;
  }
}

void TokenDataset::fit_model(std::size_t context, std::int32_t vocabulary) {
  if (context_ > context) {
    throw Error(
        fmt::format("the data are cut into samples of {} tokens, but the model's context "
                    "is {}; lower --context or enlarge the model's",
                    context_, context));
  }
  if (tokenizer_ && tokenizer_->vocabulary_size() > vocabulary) {
    throw Error(
        fmt::format("the tokenizer '{}' has {} ids, but the model's vocabulary {}; build "
                    "the model with at least the tokenizer's, or take its own tokenizer",
                    tokenizer_->name(), tokenizer_->vocabulary_size(), vocabulary));
  }
  vocabulary_ = vocabulary;
  if (context_ == 0) set_context(context);
}

void TokenDataset::set_context(std::size_t context) {
  invariant(context > 0, "a sample has tokens");
  context_ = context;
  for (std::size_t i = 0; validation_is_optional_ && i < train_.size(); ++i) {
    if (validation_[i].tokens > context) continue;
    train_[i].tokens += validation_[i].tokens;
    validation_[i].tokens = 0;
  }
  std::erase_if(validation_, [](const Part& part) { return part.tokens == 0; });
  for (const Part& part : train_) require_sample(part, "train");
  for (const Part& part : validation_) require_sample(part, "validate");
  for (std::size_t i = 0; i < train_.size(); ++i) {
    windows_.emplace_back(train_[i].tokens, context, seed_of(seed_, i));
  }
  identity_ = identify();
  held_out_ = describe_held_out();
}

void TokenDataset::require_sample(const Part& part, const char* purpose) const {
  if (part.tokens > context_) return;
  throw Error(fmt::format(
      "{}: found {} tokens to {} with, but one sample of context {} needs {}; add data or lower "
      "--context",
      part.source->name(), part.tokens, purpose, context_, context_ + 1));
}

std::uint64_t TokenDataset::train_tokens() const {
  return tokens_in(train_);
}

std::uint64_t TokenDataset::validation_tokens() const {
  return tokens_in(validation_);
}

std::vector<TokenDataset::Source> TokenDataset::training() const {
  return describe(train_, context_);
}

std::vector<TokenDataset::Source> TokenDataset::validation() const {
  return describe(validation_, context_);
}

std::uint64_t TokenDataset::samples_per_epoch(std::uint64_t epoch, std::size_t source) const {
  invariant(context_ > 0, "the context is known");
  return windows_[source].samples_per_epoch(epoch);
}

TokenDataset::Place TokenDataset::locate(std::uint64_t position) const {
  invariant(context_ > 0, "the context is known");
  const auto [source, sample] = pattern_.at(position);
  const auto [epoch, index] = windows_[source].locate(sample);
  return {source, epoch, index};
}

double TokenDataset::epochs_of(std::size_t source, std::uint64_t end) const {
  invariant(context_ > 0, "the context is known");
  return windows_[source].epochs_in(pattern_.count(source, end));
}

void TokenDataset::batch(std::uint64_t first, std::size_t count, std::span<std::int32_t> inputs,
                         std::span<std::int32_t> targets) const {
  invariant(inputs.size() == count * context_ && targets.size() == inputs.size(),
            "inputs and targets are [count, context]");
  std::vector<std::int32_t> window(context_ + 1);
  // Of each source, what lies in the batch follows each other in its order.
  std::vector<std::optional<SampleWindows::Walk>> walks(train_.size());
  for (std::size_t sample = 0; sample < count; ++sample) {
    const auto [source, index] = pattern_.at(first + sample);
    if (!walks[source]) walks[source].emplace(windows_[source], index);
    read_sample(train_[source], walks[source]->next(), window,
                inputs.subspan(sample * context_, context_),
                targets.subspan(sample * context_, context_));
  }
}

std::string TokenDataset::identify() const {
  Hash hash(seed_);
  for (std::size_t i = 0; i < train_.size(); ++i) {
    if (train_.size() > 1) hash.add(std::array{pattern_.share(i), train_[i].tokens});
    hash.add_tokens(*train_[i].source, train_[i].begin, train_[i].tokens);
  }
  std::string sources;
  if (train_.size() > 1) {
    std::vector<double> shares;
    for (const Source& source : training()) shares.push_back(source.share);
    sources = fmt::format(" of {} sources ({:.4g})", train_.size(), fmt::join(shares, ", "));
  }
  return fmt::format("{} tokens{} in samples of {}, hash {:016x}", train_tokens(), sources,
                     context_, hash.value());
}

std::string TokenDataset::describe_held_out() const {
  if (validation_.empty()) return "0 tokens";
  std::string text = fmt::format("{} tokens", validation_tokens());
  if (validation_.size() > 1) {
    for (const Source& source : validation()) {
      text += fmt::format("; {} of weight {}", source.tokens, source.share);
    }
  }
  Hash hash(0);
  for (const Part& part : validation_) hash.add_tokens(*part.source, part.begin, part.tokens);
  return fmt::format("{}, hash {:016x}", text, hash.value());
}

std::uint64_t TokenDataset::validation_samples() const {
  invariant(context_ > 0, "the context is known");
  std::uint64_t samples = 0;
  for (const Part& part : validation_) samples += windows_in(part);
  return samples;
}

void TokenDataset::validation_batch(std::uint64_t first, std::size_t count,
                                    std::span<std::int32_t> inputs,
                                    std::span<std::int32_t> targets) const {
  invariant(inputs.size() == count * context_ && targets.size() == inputs.size(),
            "inputs and targets are [count, context]");
  invariant(first <= validation_samples() && count <= validation_samples() - first,
            "validation samples exist");
  std::vector<std::int32_t> window(context_ + 1);
  auto part = validation_.begin();
  for (std::size_t sample = 0; sample < count; ++sample, ++first) {
    for (; first >= windows_in(*part); ++part) first -= windows_in(*part);
    read_sample(*part, first * context_, window, inputs.subspan(sample * context_, context_),
                targets.subspan(sample * context_, context_));
  }
}

/// Reads `window`, the context + 1 tokens from `begin` of the part, into both halves of a sample.
void TokenDataset::read_sample(const Part& part, std::uint64_t begin,
                               std::span<std::int32_t> window, std::span<std::int32_t> input,
                               std::span<std::int32_t> target) const {
  part.source->read(part.begin + begin, window);
  std::int32_t largest = 0;
  for (const std::int32_t id : window) largest = std::max(largest, id);
  if (largest >= vocabulary_) {
    const auto index =
        std::ranges::find_if(window, [&](auto id) { return id >= vocabulary_; }) - window.begin();
    throw Error(fmt::format(
        "{}: found id {}, but the model's vocabulary has {}; the file was made with another "
        "tokenizer",
        part.source->place(part.begin + begin + static_cast<std::uint64_t>(index)),
        window[static_cast<std::size_t>(index)], vocabulary_));
  }
  std::ranges::copy(window.first(context_), input.begin());
  std::ranges::copy(window.last(context_), target.begin());
}

}  // namespace train

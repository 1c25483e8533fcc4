#include "libtrain/data/token_dataset.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

#include "collectives/error.hpp"
#include "libtrain/data/sample_order.hpp"

namespace train {
namespace {

/// Keeps the draw of offsets apart from the draw of orders.
constexpr std::uint64_t kOffsetStream = 0x6f66667365747321u;

}  // namespace

TokenDataset::TokenDataset(const std::string& pattern, const Options& options)
    : TokenDataset(std::vector<std::string>{pattern}, options) {}

TokenDataset::TokenDataset(const std::vector<std::string>& patterns, const Options& options)
    : TokenDataset(open_data(patterns, options.tokenizer), options) {}

TokenDataset::TokenDataset(std::shared_ptr<const TokenSource> source, const Options& options)
    : TokenDataset(Data{std::move(source), nullptr, DataKind::llmc_shards, 0}, options) {}

TokenDataset::TokenDataset(Data data, const Options& options)
    : tokenizer_(std::move(data.tokenizer)),
      unmarked_texts_(data.unmarked_texts),
      train_{data.source, 0, data.source->size()},
      seed_(options.seed),
      vocabulary_(std::numeric_limits<std::int32_t>::max()) {
  hold_out(data.kind, options);
  if (options.context > 0) set_context(options.context);
}

void TokenDataset::hold_out(DataKind kind, const Options& options) {
  if (!options.validation.empty()) {
    if (options.validation_fraction.value_or(0) != 0) {
      throw Error("files to validate with and a share of the data to validate with: give one");
    }
    auto data = open_data(options.validation, tokenizer_);
    if ((data.kind == DataKind::text) != (kind == DataKind::text)) {
      throw Error(
          fmt::format("{} is to train with, {} to validate with: text and token files "
                      "cannot be compared",
                      train_.source->name(), data.source->name()));
    }
    validation_ = {data.source, 0, data.source->size()};
    return;
  }
  validation_is_optional_ = !options.validation_fraction;
  const double share = options.validation_fraction.value_or(kind == DataKind::text ? 0.1 : 0.0);
  if (!(share >= 0 && share < 1)) {
    throw Error(
        fmt::format("the share to validate with is {}, expected at least 0 and below 1", share));
  }
  const std::uint64_t total = train_.tokens;
  train_.tokens = static_cast<std::uint64_t>(static_cast<double>(total) * (1 - share));
  if (share == 0) train_.tokens = total;  // beyond 2^53 the product rounds
  validation_ = {train_.source, train_.tokens, total - train_.tokens};
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
  if (validation_is_optional_ && validation_.tokens <= context) {
    train_.tokens += validation_.tokens;
    validation_.tokens = 0;
  }
  require_sample(train_, "train");
  if (validation_.tokens > 0) require_sample(validation_, "validate");
  identity_ = identify();
}

void TokenDataset::require_sample(const Part& part, const char* purpose) const {
  if (part.tokens > context_) return;
  throw Error(fmt::format(
      "{}: found {} tokens to {} with, but one sample of context {} needs {}; add data or lower "
      "--context",
      part.source->name(), part.tokens, purpose, context_, context_ + 1));
}

/// How many offsets there are to begin at: less than a window, and leaving room for one.
std::uint64_t TokenDataset::offsets() const {
  return std::min<std::uint64_t>(context_, train_.tokens - context_);
}

/// Blocks of offsets() epochs use each offset once, in a drawn order. So all blocks have equally
/// many samples, and locate() need not walk through the epochs before.
TokenDataset::Windows TokenDataset::windows_of(std::uint64_t epoch) const {
  const SampleOrder order(offsets(), seed_ ^ kOffsetStream, epoch / offsets());
  const std::uint64_t offset = order(epoch % offsets());
  return {offset, (train_.tokens - 1 - offset) / context_};
}

std::uint64_t TokenDataset::samples_per_epoch(std::uint64_t epoch) const {
  invariant(context_ > 0, "the context is known");
  return windows_of(epoch).count;
}

TokenDataset::EpochPosition TokenDataset::locate(std::uint64_t position) const {
  invariant(context_ > 0, "the context is known");
  const std::uint64_t most = (train_.tokens - 1) / context_;
  const std::uint64_t spare = (train_.tokens - 1) % context_;
  const std::uint64_t short_epochs = offsets() > spare + 1 ? offsets() - spare - 1 : 0;
  const std::uint64_t block = offsets() * most - short_epochs;
  EpochPosition at{position / block * offsets(), position % block};
  for (std::uint64_t count; at.index >= (count = windows_of(at.epoch).count); ++at.epoch) {
    at.index -= count;
  }
  return at;
}

void TokenDataset::batch(std::uint64_t first, std::size_t count, std::span<std::int32_t> inputs,
                         std::span<std::int32_t> targets) const {
  invariant(inputs.size() == count * context_ && targets.size() == inputs.size(),
            "inputs and targets are [count, context]");
  std::vector<std::int32_t> window(context_ + 1);
  EpochPosition at = locate(first);
  for (std::size_t sample = 0; sample < count; ++at.epoch, at.index = 0) {
    const Windows windows = windows_of(at.epoch);
    const SampleOrder order(windows.count, seed_, at.epoch);
    for (; sample < count && at.index < windows.count; ++sample, ++at.index) {
      read_sample(train_, windows.offset + order(at.index) * context_, window,
                  inputs.subspan(sample * context_, context_),
                  targets.subspan(sample * context_, context_));
    }
  }
}

std::string TokenDataset::identify() const {
  constexpr std::uint64_t stretches = 64, stretch = 64;
  std::vector<std::int32_t> tokens(std::min(train_.tokens, stretch));
  XXH64_hash_t hash = seed_;
  for (std::uint64_t i = 0; i < stretches; ++i) {
    // Evenly from the first token to the last.
    const std::uint64_t room = train_.tokens - tokens.size();
    train_.source->read(train_.begin + room * i / (stretches - 1), tokens);
    hash = XXH3_64bits_withSeed(tokens.data(), tokens.size() * sizeof(std::int32_t), hash);
  }
  return fmt::format("{} tokens in samples of {}, hash {:016x}", train_.tokens, context_, hash);
}

std::uint64_t TokenDataset::validation_samples() const {
  invariant(context_ > 0, "the context is known");
  return validation_.tokens > 0 ? (validation_.tokens - 1) / context_ : 0;
}

void TokenDataset::validation_batch(std::uint64_t first, std::size_t count,
                                    std::span<std::int32_t> inputs,
                                    std::span<std::int32_t> targets) const {
  invariant(inputs.size() == count * context_ && targets.size() == inputs.size(),
            "inputs and targets are [count, context]");
  invariant(first <= validation_samples() && count <= validation_samples() - first,
            "validation samples exist");
  std::vector<std::int32_t> window(context_ + 1);
  for (std::size_t sample = 0; sample < count; ++sample) {
    read_sample(validation_, (first + sample) * context_, window,
                inputs.subspan(sample * context_, context_),
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

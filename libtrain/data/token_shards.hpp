#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "libtrain/data/tokenizer.hpp"

namespace train {

struct TokenShardOptions {
  static constexpr std::uint64_t tokens_limit = (std::uint64_t{1} << 31) - 1;  ///< llm.c's

  std::string directory;                   ///< made if it is missing; must hold no shards yet
  std::uint64_t tokens_max = 100'000'000;  ///< of a shard; up to tokens_limit
  /// Share of the text's bytes, taken from the end, for shards to validate with; within [0, 1).
  double validation_fraction = 0.0;
};

struct TokenShard {
  std::string path;
  std::uint64_t tokens = 0;
};

/// Turns texts (see find_files) into llm.c's token shards, once and for all: train_000000.bin, …
/// and val_000000.bin, …, all but the last of each with tokens_max tokens. Each text is a document
/// (see encode_document) with the tokenizer's end-of-text, where it has one, behind it. The text
/// that the validation share begins in is cut into two documents: at the end of a line, or behind a
/// space or a character where that would take more than a quarter of the share. Ids are of 16 bits,
/// or of 32 (Llama-3's format) where the vocabulary has more than 65536.
///
/// Holds one text's tokens and one shard's at a time, 4 bytes each. Calls `written` after each
/// shard, which appears whole or not at all. Returns how many empty files were left out. Throws
/// Error naming the pattern, file or directory, also for files that are no texts (see
/// open_data), and for a share that leaves nothing to train or to validate with.
std::size_t write_token_shards(const std::vector<std::string>& patterns, const Tokenizer& tokenizer,
                               const TokenShardOptions& options,
                               const std::function<void(const TokenShard&)>& written);

}  // namespace train

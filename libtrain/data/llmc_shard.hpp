#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "libtrain/data/token_source.hpp"

namespace train {

/// The two token files of llm.c (its llmc/dataloader.h): a header of 256 int32, then the tokens.
enum class LlmcFormat : std::uint8_t {
  gpt2,    ///< magic 20240520, version 1, 16-bit ids
  llama3,  ///< magic 20240801, version 7, 32-bit ids
};

/// Whether the file begins like a token shard of llm.c. False for anything unreadable.
bool looks_like_llmc_shard(const std::string& path);

/// Maps a shard of any size. Throws Error naming the file, what it holds and what it should hold
/// if magic, version or size are wrong, or if it has no tokens.
std::shared_ptr<const TokenSource> open_llmc_shard(const std::string& path);

/// Writes tokens as llm.c reads them; the file appears whole or not at all. Throws Error naming
/// the path if it cannot be written, the tokens are none or more than 2^31 - 1 (the header's
/// count), or an id does not fit the format.
void write_llmc_shard(const std::string& path, std::span<const std::int32_t> tokens,
                      LlmcFormat format = LlmcFormat::gpt2);

}  // namespace train

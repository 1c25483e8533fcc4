#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "libtrain/data/token_source.hpp"

namespace train {

/// Reads some thousands of the `tokens` tokens from `begin` on, evenly from the first to the last:
/// 64 stretches of 64; and of several files, the first and last 256 tokens of each. Calls `visit`
/// with where each stretch begins and its ids.
void probe_tokens(const TokenSource& source, std::uint64_t begin, std::uint64_t tokens,
                  const std::function<void(std::uint64_t, std::span<const std::int32_t>)>& visit);

}  // namespace train

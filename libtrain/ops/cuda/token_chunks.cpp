#include "libtrain/ops/cuda/token_chunks.hpp"

#include <algorithm>

namespace train::cuda {
namespace {

// Where each token's rows begin once they are sorted.
std::vector<std::int32_t> starts_of(std::span<const std::int32_t> tokens, std::int64_t vocabulary) {
  std::vector<std::int32_t> starts(static_cast<std::size_t>(vocabulary) + 1);
  for (const std::int32_t token : tokens) {
    if (token >= 0) ++starts[static_cast<std::size_t>(token) + 1];
  }
  for (std::size_t i = 1; i < starts.size(); ++i) starts[i] += starts[i - 1];
  return starts;
}

}  // namespace

TokenChunks chunk_by_token(std::span<const std::int32_t> tokens, std::int64_t vocabulary,
                           std::int32_t chunk_rows) {
  TokenChunks result;
  const std::vector<std::int32_t> starts = starts_of(tokens, vocabulary);
  result.order.resize(static_cast<std::size_t>(starts.back()));
  std::vector<std::int32_t> next(starts.begin(), starts.end() - 1);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0) continue;
    const auto place = static_cast<std::size_t>(next[static_cast<std::size_t>(tokens[i])]++);
    result.order[place] = static_cast<std::int32_t>(i);
  }
  for (std::size_t token = 0; token + 1 < starts.size(); ++token) {
    const std::int32_t begin = starts[token], end = starts[token + 1];
    const auto name = static_cast<std::int32_t>(token);
    if (end - begin > 0 && end - begin <= chunk_rows) {
      result.chunks.push_back({begin, end, name, -1});
    } else if (end - begin > chunk_rows) {
      const std::int32_t first_part = result.parts;
      for (std::int32_t at = begin; at < end; at += chunk_rows) {
        result.chunks.push_back({at, std::min(at + chunk_rows, end), name, result.parts++});
      }
      result.groups.push_back({first_part, result.parts, name});
    }
  }
  return result;
}

}  // namespace train::cuda

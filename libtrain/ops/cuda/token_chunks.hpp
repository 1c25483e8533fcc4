#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace train::cuda {

/// How the rows of a gradient are summed up by token, in the order of the rows: rows of one token
/// in chunks, chunks in order.
struct TokenChunks {
  /// Rows order[begin … end) belong to `token`. Sums go to row `part` of the partial sums, or,
  /// where the token has this chunk alone (part < 0), to its row of the table.
  struct Chunk {
    std::int32_t begin, end, token, part;
  };
  /// Partial sums [begin, end) belong to `token`.
  struct Group {
    std::int32_t begin, end, token;
  };

  std::vector<std::int32_t> order;
  std::vector<Chunk> chunks;
  std::vector<Group> groups;
  std::int32_t parts = 0;
};

/// Tokens of -1 are left out; others lie in [0, vocabulary). Chunks hold at most `chunk_rows`.
TokenChunks chunk_by_token(std::span<const std::int32_t> tokens, std::int64_t vocabulary,
                           std::int32_t chunk_rows);

}  // namespace train::cuda

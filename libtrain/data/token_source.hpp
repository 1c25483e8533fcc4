#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace train {

/// A finite sequence of token ids with random access, perhaps larger than memory.
/// Immutable once built: any number of threads may read at once.
class TokenSource {
 public:
  virtual ~TokenSource() = default;

  /// Tokens in the sequence; at least one.
  virtual std::uint64_t size() const = 0;

  /// Every id is below this: what the file's integer width or the tokenizer promises.
  virtual std::int32_t vocabulary_bound() const = 0;

  /// Copies tokens [begin, begin + out.size()), which must lie within size(). Ids are never
  /// negative. Throws Error naming file, position and value where the file holds an integer that
  /// is no token id.
  virtual void read(std::uint64_t begin, std::span<std::int32_t> out) const = 0;

  /// Where each of several files begins, ascending from 0; empty for a single one.
  virtual std::span<const std::uint64_t> file_starts() const { return {}; }

  /// What messages call it: the quoted file, or the first of several.
  virtual std::string name() const = 0;

  /// Where one token lies, for messages: "'shard_7.bin', token 1234".
  virtual std::string place(std::uint64_t position) const = 0;
};

}  // namespace train

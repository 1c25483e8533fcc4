#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "libtrain/data/token_source.hpp"
#include "tests/support/scratch_directory.hpp"

namespace train::test {

/// The little-endian bytes of integers, one after another.
template <typename T>
std::string packed(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// What llm.c's files begin with.
inline std::string llmc_header(std::int32_t magic, std::int32_t version, std::int32_t count) {
  std::vector<std::int32_t> words(256);
  words[0] = magic;
  words[1] = version;
  words[2] = count;
  return packed(words);
}

inline std::vector<std::int32_t> read_all(const TokenSource& source) {
  std::vector<std::int32_t> tokens(source.size());
  source.read(0, tokens);
  return tokens;
}

/// 0, 1, 2, …
inline std::vector<std::int32_t> counting(std::size_t count) {
  std::vector<std::int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A Megatron index by hand. `offsets` are bytes in the .bin.
struct MegatronIndex {
  std::uint8_t type = 8;
  std::vector<std::int32_t> lengths;
  std::vector<std::int64_t> offsets;
  std::vector<std::int64_t> documents = {0, static_cast<std::int64_t>(lengths.size())};
  std::string modes = {};

  std::string bytes() const {
    return std::string("MMIDIDX\0\0", 9) + packed<std::uint64_t>({1}) + static_cast<char>(type) +
           packed<std::uint64_t>({lengths.size(), documents.size()}) + packed(lengths) +
           packed(offsets) + packed(documents) + modes;
  }
};

}  // namespace train::test

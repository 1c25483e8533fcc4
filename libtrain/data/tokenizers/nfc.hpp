#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace train::detail {

/// Normalization Form C of Unicode 14 (UAX 15): what looks alike is written alike, so that an e and
/// an accent behind it become é. Making one takes a millisecond.
class Nfc {
 public:
  Nfc();

  /// Bytes that are no UTF-8 stay as they are. Costs little where nothing changes.
  std::string normalize(std::string_view text) const;

 private:
  struct Parts {
    char32_t first = 0;
    char32_t second = 0;  // 0: there is none
  };
  using Word = std::vector<char32_t>;

  bool stands_alone(char32_t character) const;
  int class_of(char32_t character) const;
  void decompose(char32_t character, Word& out) const;
  void order(Word& word) const;
  char32_t composed_of(char32_t first, char32_t second) const;  // 0: of nothing
  void compose(Word& word) const;

  std::unordered_map<char32_t, Parts> parts_;
  std::unordered_map<std::uint64_t, char32_t> composed_;
  std::unordered_map<char32_t, int> classes_;
  std::vector<bool>
      depends_;  // by character: what is around it may change it, or it itself changes
};

}  // namespace train::detail

#include "libtrain/data/tokenizers/byte_level.hpp"

#include <array>

#include "libtrain/data/tokenizers/utf8.hpp"

namespace train::detail {
namespace {

constexpr char32_t kFirstSubstitute = 0x100;
constexpr int kSubstitutes = 68;

constexpr bool stands_for_itself(char32_t byte) {
  return (byte >= U'!' && byte <= U'~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<char, kSubstitutes> substituted{};
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  int next = 0;
  for (char32_t byte = 0; byte < 256; ++byte) {
    alphabet.character[byte] = byte;
    if (stands_for_itself(byte)) continue;
    alphabet.character[byte] = kFirstSubstitute + static_cast<char32_t>(next);
    alphabet.substituted[static_cast<std::size_t>(next++)] = static_cast<char>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::string to_byte_level(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    append_utf8(text, kAlphabet.character[static_cast<unsigned char>(byte)]);
  }
  return text;
}

std::optional<std::string> from_byte_level(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint character = decode_utf8(text, at);
    if (character.bytes == 0) return std::nullopt;
    at += character.bytes;
    if (character.value < 0x100 && stands_for_itself(character.value)) {
      bytes += static_cast<char>(character.value);
    } else if (character.value >= kFirstSubstitute &&
               character.value < kFirstSubstitute + kSubstitutes) {
      bytes += kAlphabet.substituted[character.value - kFirstSubstitute];
    } else {
      return std::nullopt;
    }
  }
  return bytes;
}

std::string byte_level_order() {
  std::string order;
  for (char32_t byte = 0; byte < 256; ++byte) {
    if (stands_for_itself(byte)) order += static_cast<char>(byte);
  }
  return order.append(kAlphabet.substituted.data(), kSubstitutes);
}

}  // namespace train::detail

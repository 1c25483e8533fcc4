#include "libtrain/data/tokenizers/utf8.hpp"

namespace train::detail {
namespace {

/// Bytes in the sequence that a leading byte announces, 0 if none begins with it.
std::size_t announced_bytes(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 0;
}

}  // namespace

CodePoint decode_utf8(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t bytes = announced_bytes(lead);
  if (bytes <= 1) return {lead, bytes};
  if (text.size() - at < bytes) return {0, 0};
  char32_t value = lead & (0x7fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[at + i]);
    if ((next & 0xc0u) != 0x80u) return {0, 0};
    value = value << 6 | (next & 0x3fu);
  }
  const bool overlong = (bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (overlong || surrogate || value > 0x10ffff) return {0, 0};
  return {value, bytes};
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto trail = [&](int shift) {
    return static_cast<char>(0x80u | ((code_point >> shift) & 0x3fu));
  };
  if (code_point < 0x80) {
    text += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    text += {static_cast<char>(0xc0u | code_point >> 6), trail(0)};
  } else if (code_point < 0x10000) {
    text += {static_cast<char>(0xe0u | code_point >> 12), trail(6), trail(0)};
  } else {
    text += {static_cast<char>(0xf0u | code_point >> 18), trail(12), trail(6), trail(0)};
  }
}

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const std::size_t bytes = decode_utf8(text, at).bytes;
    if (bytes == 0) break;
    at += bytes;
  }
  return at;
}

}  // namespace train::detail

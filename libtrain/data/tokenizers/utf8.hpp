#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace train::detail {

struct CodePoint {
  char32_t value;
  std::size_t bytes;  ///< 0: no valid UTF-8 here
};

/// The code point that begins at text[at], at < text.size(). Overlong forms, surrogates and values
/// over U+10FFFF are invalid (RFC 3629).
CodePoint decode_utf8(std::string_view text, std::size_t at);

/// Appends the UTF-8 form of a valid code point.
void append_utf8(std::string& text, char32_t code_point);

/// Length of the longest valid prefix.
std::size_t valid_utf8_prefix(std::string_view text);

}  // namespace train::detail

#include "libtrain/data/shown_text.hpp"

#include <algorithm>

#include "libtrain/data/tokenizers/utf8.hpp"

namespace train {

std::string shown_text(std::string_view text) {
  std::string shown;
  for (std::size_t at = 0; at < text.size();) {
    const auto [value, bytes] = detail::decode_utf8(text, at);
    const bool spaces = value == U'\n' || value == U'\t';
    const bool controls = value < 0x20 || (value >= 0x7f && value < 0xa0);
    if (bytes == 0 || (controls && !spaces)) {
      shown += '?';
    } else {
      shown += text.substr(at, bytes);
    }
    at += std::max<std::size_t>(bytes, 1);
  }
  return shown;
}

}  // namespace train

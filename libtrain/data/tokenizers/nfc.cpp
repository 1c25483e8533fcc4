#include "libtrain/data/tokenizers/nfc.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include <utf8proc.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizers/utf8.hpp"

namespace train::detail {
namespace {

// Below U+0300, whose form in UTF-8 begins with this byte, characters neither change nor combine
// with those before them: most text is done with that.
bool may_change(std::string_view text) {
  return std::ranges::any_of(text,
                             [](char byte) { return static_cast<unsigned char>(byte) >= 0xcc; });
}

void append_nfc(std::string_view valid, std::string& out) {
  if (!may_change(valid)) {
    out += valid;
    return;
  }
  utf8proc_uint8_t* made = nullptr;
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(valid.data()),
                   static_cast<utf8proc_ssize_t>(valid.size()), &made,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(made, std::free);
  invariant(size >= 0, "valid UTF-8 has a normal form");
  out.append(reinterpret_cast<const char*>(made), static_cast<std::size_t>(size));
}

}  // namespace

std::string to_nfc(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::size_t valid = valid_utf8_prefix(text);
    append_nfc(text.substr(0, valid), result);
    text.remove_prefix(valid);
    if (text.empty()) break;
    result += text.front();
    text.remove_prefix(1);
  }
  return result;
}

}  // namespace train::detail

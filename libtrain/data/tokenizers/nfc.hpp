#pragma once

#include <string>
#include <string_view>

namespace train::detail {

/// Normalization Form C of Unicode (UAX 15): what looks alike is written alike, so that an e and an
/// accent behind it become é. Bytes that are no UTF-8 stay as they are.
std::string to_nfc(std::string_view text);

}  // namespace train::detail

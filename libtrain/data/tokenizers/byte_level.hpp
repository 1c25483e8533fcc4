#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace train::detail {

/// GPT-2's printable alphabet for bytes: vocabulary files write each byte as one visible character.
/// The bytes ! to ~, U+00A1 to U+00AC and U+00AE to U+00FF stand for themselves; the other 68 are
/// U+0100 onwards in their order (a space becomes U+0120).
std::string to_byte_level(std::string_view bytes);

/// The inverse; nothing if `text` holds a character outside the alphabet.
std::optional<std::string> from_byte_level(std::string_view text);

/// The bytes in the order of GPT-2's ids 0 to 255: those that stand for themselves come first.
std::string byte_level_order();

}  // namespace train::detail

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace train {

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4): reflected, initial value and final xor all ones.
/// One table, a byte at a time: for records of a few hundred bytes.
std::uint32_t crc32c(std::span<const std::byte> bytes);
inline std::uint32_t crc32c(std::string_view text) {
  return crc32c(std::as_bytes(std::span(text)));
}

}  // namespace train

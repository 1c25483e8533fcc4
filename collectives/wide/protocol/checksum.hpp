#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace train::wide {

/// CRC-32C (Castagnoli), as in RFC 3720 appendix B.4: 0xe3069283 for "123456789".
std::uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace train::wide

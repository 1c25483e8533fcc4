#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace train::detail {

/// How a file stores its token ids, little-endian.
enum class TokenType : std::uint8_t { u8, i8, u16, i16, u32, i32, i64 };

std::size_t width_of(TokenType type);

/// One more than the largest id the type holds, capped at 2^31 - 1.
std::int32_t bound_of(TokenType type);

/// Widens out.size() packed integers at `from`, which need not be aligned, to ids. `file` and
/// `first` (the position of the first one) serve the Error that is thrown for a value outside
/// [0, 2^31 - 1).
void unpack(TokenType type, const std::byte* from, std::span<std::int32_t> out,
            const std::string& file, std::uint64_t first);

}  // namespace train::detail

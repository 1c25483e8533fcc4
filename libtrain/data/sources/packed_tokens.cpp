#include "libtrain/data/sources/packed_tokens.hpp"

#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::detail {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian");

constexpr std::int64_t kLimit = std::numeric_limits<std::int32_t>::max();

template <typename T>
T load(const std::byte* from, std::size_t index) {
  T value;
  std::memcpy(&value, from + index * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
bool is_id(T value) {
  if constexpr (std::is_signed_v<T>) {
    if (value < 0) return false;
  }
  if constexpr (sizeof(T) >= 4) {
    if (value >= static_cast<T>(kLimit)) return false;
  }
  return true;
}

/// Converts first and looks for the culprit only if there is one, so that the loop vectorises.
template <typename T>
void unpack_as(const std::byte* from, std::span<std::int32_t> out, const std::string& file,
               std::uint64_t first) {
  bool good = true;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const T value = load<T>(from, i);
    good &= is_id(value);
    out[i] = static_cast<std::int32_t>(value);
  }
  if (good) [[likely]]
    return;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const T value = load<T>(from, i);
    if (is_id(value)) continue;
    throw Error(fmt::format(
        "'{}', token {}: found {}, which is no token id (0 to {}); the file is damaged or was "
        "written with another integer type",
        file, first + i, static_cast<std::int64_t>(value), kLimit - 1));
  }
}

}  // namespace

std::size_t width_of(TokenType type) {
  switch (type) {
    case TokenType::u8:
    case TokenType::i8:
      return 1;
    case TokenType::u16:
    case TokenType::i16:
      return 2;
    case TokenType::u32:
    case TokenType::i32:
      return 4;
    case TokenType::i64:
      return 8;
  }
  unreachable("token type");
}

std::int32_t bound_of(TokenType type) {
  switch (type) {
    case TokenType::u8:
      return 1 << 8;
    case TokenType::i8:
      return 1 << 7;
    case TokenType::u16:
      return 1 << 16;
    case TokenType::i16:
      return 1 << 15;
    case TokenType::u32:
    case TokenType::i32:
    case TokenType::i64:
      return static_cast<std::int32_t>(kLimit);
  }
  unreachable("token type");
}

void unpack(TokenType type, const std::byte* from, std::span<std::int32_t> out,
            const std::string& file, std::uint64_t first) {
  switch (type) {
    case TokenType::u8:
      return unpack_as<std::uint8_t>(from, out, file, first);
    case TokenType::i8:
      return unpack_as<std::int8_t>(from, out, file, first);
    case TokenType::u16:
      return unpack_as<std::uint16_t>(from, out, file, first);
    case TokenType::i16:
      return unpack_as<std::int16_t>(from, out, file, first);
    case TokenType::u32:
      return unpack_as<std::uint32_t>(from, out, file, first);
    case TokenType::i32:
      return unpack_as<std::int32_t>(from, out, file, first);
    case TokenType::i64:
      return unpack_as<std::int64_t>(from, out, file, first);
  }
  unreachable("token type");
}

}  // namespace train::detail

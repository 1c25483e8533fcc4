#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace train {

/// Element types that ranks exchange and tensors hold.
enum class DataType : std::uint8_t { f32, bf16, f64, i32, i64, u8 };

/// How a reduction combines the ranks' elements. Sums of bf16 accumulate in f32.
enum class ReduceOp : std::uint8_t { sum, min, max };

/// The upper 16 bits of an IEEE float; storage only, arithmetic happens in f32.
struct BFloat16 {
  std::uint16_t bits = 0;

  BFloat16() = default;
  /// Rounds to nearest, ties to even; NaN stays NaN.
  explicit BFloat16(float value) {
    auto word = std::bit_cast<std::uint32_t>(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<std::uint16_t>((word >> 16) | 0x40u);
    } else {
      bits = static_cast<std::uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
    }
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};
static_assert(sizeof(BFloat16) == 2);

/// Bytes of one element.
std::size_t size_of(DataType type);
/// "f32", "bf16", …
const char* name_of(DataType type);
/// "sum", "min", "max".
const char* name_of(ReduceOp op);

namespace detail {
template <typename T>
struct DataTypeOf;
template <>
struct DataTypeOf<float> {
  static constexpr DataType value = DataType::f32;
};
template <>
struct DataTypeOf<BFloat16> {
  static constexpr DataType value = DataType::bf16;
};
template <>
struct DataTypeOf<double> {
  static constexpr DataType value = DataType::f64;
};
template <>
struct DataTypeOf<std::int32_t> {
  static constexpr DataType value = DataType::i32;
};
template <>
struct DataTypeOf<std::int64_t> {
  static constexpr DataType value = DataType::i64;
};
template <>
struct DataTypeOf<std::uint8_t> {
  static constexpr DataType value = DataType::u8;
};
}  // namespace detail

/// The DataType of a C++ element type.
template <typename T>
inline constexpr DataType data_type_of = detail::DataTypeOf<std::remove_cv_t<T>>::value;

/// Elements that a collective writes. Does not own them: they live until the call's Work is done.
struct Buffer {
  std::byte* data = nullptr;
  std::size_t count = 0;
  DataType type = DataType::u8;

  Buffer() = default;
  Buffer(void* data_, std::size_t count_, DataType type_)
      : data(static_cast<std::byte*>(data_)), count(count_), type(type_) {}
  template <typename T, std::size_t N>
  requires(!std::is_const_v<T>) Buffer(std::span<T, N> span)
      : Buffer(span.data(), span.size(), data_type_of<T>) {}

  std::size_t bytes() const { return count * size_of(type); }
};

/// Elements that a collective reads.
struct ConstBuffer {
  const std::byte* data = nullptr;
  std::size_t count = 0;
  DataType type = DataType::u8;

  ConstBuffer() = default;
  ConstBuffer(const void* data_, std::size_t count_, DataType type_)
      : data(static_cast<const std::byte*>(data_)), count(count_), type(type_) {}
  ConstBuffer(Buffer buffer) : ConstBuffer(buffer.data, buffer.count, buffer.type) {}
  template <typename T, std::size_t N>
  ConstBuffer(std::span<T, N> span) : ConstBuffer(span.data(), span.size(), data_type_of<T>) {}

  std::size_t bytes() const { return count * size_of(type); }
};

}  // namespace train

#include "collectives/ordered/reduce.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "collectives/error.hpp"

namespace train::detail {
namespace {

// Accumulators of one tile stay in the first-level cache while the sources stream past.
constexpr std::size_t tile_elements = 2048;

struct Sum {
  template <typename A>
  static A apply(A a, A b) {
    if constexpr (std::is_integral_v<A>) {
      // Unsigned arithmetic: overflow wraps instead of being undefined.
      using U = std::make_unsigned_t<A>;
      return static_cast<A>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b)));
    } else {
      return a + b;
    }
  }
};

// `b != b` is true for NaN alone: it replaces the accumulator, and stays there because every
// comparison with it is false.
struct Min {
  template <typename A>
  static A apply(A a, A b) {
    return (b < a) | (b != b) ? b : a;
  }
};

struct Max {
  template <typename A>
  static A apply(A a, A b) {
    return (b > a) | (b != b) ? b : a;
  }
};

template <typename T>
struct AccumulatorOf {
  using type = T;
};
template <>
struct AccumulatorOf<BFloat16> {
  using type = float;
};

template <typename T, typename Op>
void reduce_as(std::span<const std::byte* const> sources, std::byte* destination,
               std::size_t count) {
  using A = typename AccumulatorOf<T>::type;
  alignas(64) A tile[tile_elements];
  for (std::size_t start = 0; start < count; start += tile_elements) {
    const std::size_t n = std::min(tile_elements, count - start);
    const T* first = reinterpret_cast<const T*>(sources[0]) + start;
    const T* second = reinterpret_cast<const T*>(sources[1]) + start;
    for (std::size_t i = 0; i < n; ++i) {
      tile[i] = Op::apply(static_cast<A>(first[i]), static_cast<A>(second[i]));
    }
    for (std::size_t s = 2; s < sources.size(); ++s) {
      const T* source = reinterpret_cast<const T*>(sources[s]) + start;
      for (std::size_t i = 0; i < n; ++i) {
        tile[i] = Op::apply(tile[i], static_cast<A>(source[i]));
      }
    }
    T* out = reinterpret_cast<T*>(destination) + start;
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<T>(tile[i]);
  }
}

template <typename T>
void reduce_with(ReduceOp op, std::span<const std::byte* const> sources, std::byte* destination,
                 std::size_t count) {
  switch (op) {
    case ReduceOp::sum:
      return reduce_as<T, Sum>(sources, destination, count);
    case ReduceOp::min:
      return reduce_as<T, Min>(sources, destination, count);
    case ReduceOp::max:
      return reduce_as<T, Max>(sources, destination, count);
  }
  unreachable("unknown ReduceOp");
}

}  // namespace

void reduce(DataType type, ReduceOp op, std::span<const std::byte* const> sources,
            std::byte* destination, std::size_t count) {
  invariant(!sources.empty(), "a reduction has at least one source");
  if (count == 0) return;
  if (sources.size() == 1) {
    if (sources[0] != destination) std::memcpy(destination, sources[0], count * size_of(type));
    return;
  }
  switch (type) {
    case DataType::f32:
      return reduce_with<float>(op, sources, destination, count);
    case DataType::bf16:
      return reduce_with<BFloat16>(op, sources, destination, count);
    case DataType::f64:
      return reduce_with<double>(op, sources, destination, count);
    case DataType::i32:
      return reduce_with<std::int32_t>(op, sources, destination, count);
    case DataType::i64:
      return reduce_with<std::int64_t>(op, sources, destination, count);
    case DataType::u8:
      return reduce_with<std::uint8_t>(op, sources, destination, count);
  }
  unreachable("unknown DataType");
}

}  // namespace train::detail

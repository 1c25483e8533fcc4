#include "libtrain/checkpoint/convert_values.hpp"

#include <cstring>
#include <type_traits>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

template <typename From, typename To>
void convert_as(ConstBuffer from, Buffer to) {
  for (std::size_t i = 0; i < from.count; ++i) {
    From value;
    std::memcpy(&value, from.data + i * sizeof(From), sizeof(From));
    To converted;
    if constexpr (std::is_same_v<From, To>) {
      converted = value;
    } else if constexpr (std::is_same_v<To, BFloat16>) {
      converted = BFloat16(static_cast<float>(value));
    } else if constexpr (std::is_same_v<From, BFloat16>) {
      converted = static_cast<To>(static_cast<float>(value));
    } else {
      converted = static_cast<To>(value);
    }
    std::memcpy(to.data + i * sizeof(To), &converted, sizeof(To));
  }
}

template <typename From>
void convert_from(ConstBuffer from, Buffer to) {
  switch (to.type) {
    case DataType::f32:
      return convert_as<From, float>(from, to);
    case DataType::bf16:
      return convert_as<From, BFloat16>(from, to);
    case DataType::f64:
      return convert_as<From, double>(from, to);
    default:
      throw Error(
          fmt::format("values of {} cannot be made {}", name_of(from.type), name_of(to.type)));
  }
}

}  // namespace

void convert_values(ConstBuffer from, Buffer to) {
  invariant(from.count == to.count, "as many values as before");
  if (from.type == to.type) {
    if (from.count > 0) std::memcpy(to.data, from.data, from.bytes());
    return;
  }
  switch (from.type) {
    case DataType::f32:
      return convert_from<float>(from, to);
    case DataType::bf16:
      return convert_from<BFloat16>(from, to);
    case DataType::f64:
      return convert_from<double>(from, to);
    default:
      throw Error(
          fmt::format("values of {} cannot be made {}", name_of(from.type), name_of(to.type)));
  }
}

}  // namespace train

#include "libtrain/autograd/parameter.hpp"

#include <cmath>
#include <numbers>
#include <vector>

#include "libtrain/tensor/philox.hpp"

namespace train {
namespace {

// Element i takes half of a Box–Muller pair from block i / 2: two words make a radius and an angle.
float normal_at(const Philox& random, std::uint64_t index) {
  const auto bits = random(0, index / 2);
  const float radius = std::sqrt(-2.0f * std::log(uniform_from_bits(bits[0])));
  const float angle = 2.0f * std::numbers::pi_v<float> * uniform_from_bits(bits[1]);
  return radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

template <typename T>
std::vector<T> draw(const Initializer& initializer, const Philox& random, std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count), T(initializer.constant));
  if (initializer.kind == Initializer::Kind::normal) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = T(initializer.standard_deviation * normal_at(random, i));
    }
  }
  return values;
}

template <typename T>
void fill(const Tensor& value, const Initializer& initializer, const Philox& random) {
  const auto host = draw<T>(initializer, random, value.elements());
  value.copy_from_host(std::as_bytes(std::span(host)));
}

}  // namespace

Gradient Parameter::gradient_target() {
  if (!gradient_.defined()) return {};
  const Write write = written_ ? Write::add : Write::assign;
  written_ = true;
  return {gradient_, write};
}

void Parameter::initialize(Memory& memory, DataType type, std::uint64_t seed) {
  value_ = Tensor(memory, shape_, type);
  const Philox random(seed, name_);
  switch (type) {
    case DataType::f32:
      return fill<float>(value_, initializer_, random);
    case DataType::bf16:
      return fill<BFloat16>(value_, initializer_, random);
    case DataType::f64:
      return fill<double>(value_, initializer_, random);
    default:
      unreachable("a parameter is f32, bf16 or f64");
  }
}

}  // namespace train

#include "libtrain/ops/reference/values.hpp"

#include <bit>
#include <cmath>
#include <cstdint>

namespace train::reference {
namespace {

template <typename T>
double widen(T value) {
  return static_cast<double>(static_cast<float>(value));
}
template <>
double widen(double value) {
  return value;
}

template <typename T>
T round_to(double value) {
  return static_cast<T>(value);
}
// By way of a float rounded to odd: a float rounded to nearest could land on a tie between two
// bf16 that the double was not.
template <>
BFloat16 round_to(double value) {
  float near = static_cast<float>(value);
  if (std::isnan(value) || static_cast<double>(near) == value) return BFloat16(near);
  if (std::abs(static_cast<double>(near)) > std::abs(value)) near = std::nextafter(near, 0.0f);
  return BFloat16(std::bit_cast<float>(std::bit_cast<std::uint32_t>(near) | 1u));
}

}  // namespace

Matrix read(const Tensor& tensor) {
  Matrix values(tensor.shape().rows(), tensor.shape().width());
  visit_real(tensor.type(), [&](auto type) {
    const auto* from = tensor.data<decltype(type)>();
    for (Eigen::Index i = 0; i < values.size(); ++i) values.data()[i] = widen(from[i]);
  });
  return values;
}

Vector read_vector(const Tensor& tensor) {
  return read(tensor.reshaped({tensor.elements()}));
}

void write(const Matrix& values, const Tensor& tensor) {
  invariant(values.size() == tensor.elements(), "an op's result has its output's size");
  visit_real(tensor.type(), [&](auto type) {
    using T = decltype(type);
    T* to = tensor.data<T>();
    for (Eigen::Index i = 0; i < values.size(); ++i) to[i] = round_to<T>(values.data()[i]);
  });
}

void write(const Matrix& values, const Gradient& gradient) {
  const Tensor& tensor = gradient.tensor;
  if (!tensor.defined()) return;
  if (gradient.write == Write::assign) return write(values, tensor);
  const Matrix before = read(tensor.reshaped({values.rows(), values.cols()}));
  write(before + values, tensor);
}

}  // namespace train::reference

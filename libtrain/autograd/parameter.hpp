#pragma once

#include <string>

#include "libtrain/ops/ops.hpp"
#include "libtrain/tensor/tensor.hpp"

namespace train {

/// How a parameter's initial values are drawn; each value depends on the seed, the parameter's name
/// and the element's global index alone.
struct Initializer {
  enum class Kind : std::uint8_t { constant, normal };
  Kind kind = Kind::constant;
  float constant = 0.0f;
  float standard_deviation = 0.0f;

  static Initializer zeros() { return {}; }
  static Initializer ones() { return {Kind::constant, 1.0f, 0.0f}; }
  static Initializer normal(float deviation) { return {Kind::normal, 0.0f, deviation}; }
};

/// A named tensor that training changes. The gradient exists once an optimizer or a reducer has
/// given it a place; what it holds is the sum over the micro-batches since `clear_gradient`.
class Parameter {
 public:
  Parameter(std::string name, Shape shape, Initializer initializer)
      : name_(std::move(name)), shape_(shape), initializer_(initializer) {}
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  const std::string& name() const { return name_; }
  const Shape& shape() const { return shape_; }
  const Initializer& initializer() const { return initializer_; }
  /// Matrices decay, vectors (biases, norms) do not.
  bool decays() const { return shape_.rank() >= 2; }

  Tensor& value() { return value_; }
  const Tensor& value() const { return value_; }

  const Tensor& gradient() const { return gradient_; }
  void set_gradient(Tensor gradient) { gradient_ = std::move(gradient); }
  /// The next write replaces the gradient, so that nobody has to fill it with zeros.
  void clear_gradient() { written_ = false; }
  /// Where a backward op writes: assigns the first time after clear_gradient, adds from then on.
  Gradient gradient_target();

  /// Allocates the value and fills it from the initializer.
  void initialize(Memory& memory, DataType type, std::uint64_t seed);

 private:
  friend class Tape;

  std::string name_;
  Shape shape_;
  Initializer initializer_;
  Tensor value_;
  Tensor gradient_;
  bool written_ = false;
  int uses_pending_ = 0;
};

}  // namespace train

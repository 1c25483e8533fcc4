#pragma once

#include <functional>
#include <string>

#include "collectives/work.hpp"
#include "libtrain/ops/ops.hpp"
#include "libtrain/tensor/layout.hpp"
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

/// A named tensor that training changes, and the blocks of it that this rank holds (all of it,
/// unless parallelize() said otherwise). The gradient exists once an optimizer or a reducer has
/// given it a place; what it holds is the sum over the micro-batches since `clear_gradient`.
class Parameter {
 public:
  /// `shape` is the whole tensor's. Values are drawn into `memory` when they are first asked for.
  Parameter(std::string name, Shape shape, Initializer initializer)
      : name_(std::move(name)),
        shape_(shape),
        initializer_(initializer),
        layout_(Layout::replicated(shape, 1)) {}
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  const std::string& name() const { return name_; }
  /// Of the whole tensor.
  const Shape& shape() const { return shape_; }
  const Initializer& initializer() const { return initializer_; }
  /// Matrices decay, vectors (biases, norms) do not.
  bool decays() const { return shape_.rank() >= 2; }

  /// Over the tensor group's ranks, of which this is `layout_rank`.
  const Layout& layout() const { return layout_; }
  int layout_rank() const { return layout_rank_; }
  Shape local_shape() const { return layout_.local_shape(layout_rank_); }
  /// Keeps only this rank's blocks, of values that were there already too.
  void set_layout(Layout layout, int rank);

  /// Where and how initial values will be drawn, on so many threads.
  void initialize(Memory& memory, DataType type, std::uint64_t seed, int threads = 1);
  /// This rank's blocks, drawn at the first call. Must not be called while the value is released.
  const Tensor& value() const;
  DataType type() const { return type_; }
  /// Moves the value (or draws it) into memory of `local_shape()` elements that an owner of many
  /// parameters keeps.
  void move_value(const Tensor& place);
  /// Lets go of the value until set_value: an owner keeps it elsewhere.
  void release_value();
  void set_value(Tensor value);
  bool released() const { return released_; }

  const Tensor& gradient() const { return gradient_; }
  void set_gradient(Tensor gradient) { gradient_ = std::move(gradient); }
  /// Called when a gradient is to be written and has no place: expected to set one.
  void set_gradient_source(std::function<void()> source) { gradient_source_ = std::move(source); }
  /// The next write replaces the gradient, so that nobody has to fill it with zeros.
  void clear_gradient() { written_ = false; }
  /// Whether a tape that lives has still to write the gradient.
  bool in_use() const { return uses_pending_ > 0; }
  /// Where a backward op writes: assigns the first time after clear_gradient, adds from then on.
  Gradient gradient_target();

  /// What must still be added to a rank's own gradient to make it whole, where ranks hold the same
  /// values but saw different rows or heads. The sum replaces the gradient in place.
  void set_gradient_sum(std::function<Work(const Tensor&)> sum) { gradient_sum_ = std::move(sum); }
  Work sum_gradient() const { return gradient_sum_ ? gradient_sum_(gradient_) : Work(); }

 private:
  friend class Tape;

  Tensor empty_value() const;
  void draw(const Tensor& place) const;

  std::string name_;
  Shape shape_;
  Initializer initializer_;
  Layout layout_;
  int layout_rank_ = 0;
  Memory* memory_ = nullptr;
  DataType type_ = DataType::f32;
  std::uint64_t seed_ = 0;
  int threads_ = 1;
  mutable Tensor value_;
  bool released_ = false;
  Tensor gradient_;
  std::function<void()> gradient_source_;
  std::function<Work(const Tensor&)> gradient_sum_;
  bool written_ = false;
  int uses_pending_ = 0;
};

}  // namespace train

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "libtrain/autograd/parameter.hpp"
#include "libtrain/ops/device.hpp"

namespace train {

/// What an activation was applied to. Whoever writes the gradient of its result alone may write the
/// argument's instead, and says so here.
struct ActivationArgument {
  Activation activation = Activation::none;
  Tensor value;
  bool has_gradient = false;
};

/// A tensor on the tape and the place of its gradient. Copies share both. The gradient's place is
/// shared apart from the value so that a backward op keeps alive only what it reads.
class Value {
 public:
  Value() = default;
  /// `argument`: of the activation that the tensor is the result of, if any.
  explicit Value(Tensor tensor, std::shared_ptr<ActivationArgument> argument = nullptr)
      : tensor_(std::move(tensor)),
        gradient_(std::make_shared<Tensor>()),
        argument_(std::move(argument)) {}

  const Tensor& tensor() const { return tensor_; }
  const std::shared_ptr<Tensor>& gradient() const { return gradient_; }
  const std::shared_ptr<ActivationArgument>& argument() const { return argument_; }

 private:
  Tensor tensor_;
  std::shared_ptr<Tensor> gradient_;
  std::shared_ptr<ActivationArgument> argument_;
};

/// What a backward pass replays: each function writes its outputs' gradients into its inputs'.
class Tape {
 public:
  enum class Mode : std::uint8_t {
    record,
    inference,  ///< evaluation and generation: no dropout, no way back
    forget,     ///< a forward pass of training that will be run again before its backward pass
  };

  Tape(Device& device, Mode mode) : device_(device), mode_(mode) {}
  /// For a part of what `outer` runs: with its device and hooks, but functions of its own.
  Tape(const Tape& outer, Mode mode)
      : device_(outer.device_),
        mode_(mode),
        ready_hook_(outer.ready_hook_),
        output_hook_(outer.output_hook_) {}
  /// A tape that was recorded but not replayed lets its parameters go.
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  bool recording() const { return mode_ == Mode::record; }
  bool training() const { return mode_ != Mode::inference; }
  Ops& ops() const { return device_.ops(); }
  Memory& memory() const { return device_.memory(); }
  Tensor empty(Shape shape, DataType type) const { return {memory(), shape, type}; }
  /// [rows, width], with rows as far apart as the device's ops like them: for those that take gaps.
  Tensor padded(std::int64_t rows, std::int64_t width, DataType type) const {
    return empty({rows, ops().padded_width(width, type)}, type).first_columns(width);
  }

  /// `backward` runs in the backward pass, in the reverse order of recording, and is destroyed
  /// after it has run: what it captured is freed then.
  void record(std::function<void()> backward);
  /// For what made `y`: `backward` is given y's gradient, writes those of `parameters` (null ones
  /// are left out) and says when each has been written, by `finish`. Of a y that nobody read there
  /// is no gradient: `backward` does not run then, and nothing is added to the other ones.
  void record(const Value& y, std::vector<Parameter*> parameters,
              std::function<void(Tensor& dy)> backward);
  /// Says that a recorded function will write the parameter's gradient; when it has, it calls
  /// `finish`.
  void use(Parameter& parameter);
  void finish(Parameter& parameter);
  /// `finish`, of a use that had nothing to write: a gradient that nobody has written is zero.
  void add_nothing(Parameter& parameter);
  /// Called when the last use of a parameter has written its gradient: communication starts here
  /// while the backward pass goes on.
  void on_gradient_ready(std::function<void(Parameter&)> hook) { ready_hook_ = std::move(hook); }

  /// Replays all, the last recorded first.
  void backward();

  /// Where the gradient of a value is to be written: allocates it at the first write, adds from
  /// then on, and never to memory that another gradient shares.
  Gradient gradient_target(const Tensor& like, Tensor& gradient) const;
  /// gradient += dy, without a copy when it is the first.
  void add_gradient(const Tensor& dy, Tensor& gradient) const;
  /// dy itself when nobody shares its memory, so that a backward op may work in place; else a new
  /// tensor.
  Tensor writable(const Tensor& dy) const;
  /// Copies the gradient if another one shares its memory.
  void unshare(Tensor& gradient) const;

  /// Memory for what an activation is applied to, for the backward pass; null where there will be
  /// none, or no activation.
  std::shared_ptr<ActivationArgument> argument_of(Activation activation, Shape shape,
                                                  DataType type) const;
  /// Turns the gradient of an activation's result into its argument's, unless it is that already.
  void pass_activation(const ActivationArgument& argument, Tensor& gradient) const;
  /// Adds dy · w to the gradient of x. Where x is an activation's result that nobody else can
  /// reach, the product becomes the gradient of the activation's argument at once.
  void write_linear_grad_input(const Tensor& dy, const Tensor& w, const Value& x) const;

  /// Called with each output of a layer and the parameter that names it: to find what went wrong.
  void on_output(std::function<void(const Parameter&, const Tensor&)> hook) {
    output_hook_ = std::move(hook);
  }
  void inspect(const Parameter& parameter, const Value& output) const {
    if (output_hook_) output_hook_(parameter, output.tensor());
  }

 private:
  Device& device_;
  Mode mode_;
  std::vector<std::function<void()>> functions_;
  std::vector<Parameter*> used_;  // once per use, for a tape that is dropped
  std::function<void(Parameter&)> ready_hook_;
  std::function<void(const Parameter&, const Tensor&)> output_hook_;
};

}  // namespace train

#include "libtrain/autograd/tape.hpp"

namespace train {

Tape::~Tape() {
  if (functions_.empty()) return;
  for (Parameter* parameter : used_) parameter->uses_pending_ = 0;
}

void Tape::record(std::function<void()> backward) {
  if (recording()) functions_.push_back(std::move(backward));
}

void Tape::record(const Value& y, std::vector<Parameter*> parameters,
                  std::function<void(Tensor& dy)> backward) {
  if (!recording()) return;
  std::erase(parameters, nullptr);
  for (Parameter* parameter : parameters) use(*parameter);
  record([this, parameters = std::move(parameters), backward = std::move(backward),
          dy = y.gradient()] {
    if (dy->defined()) return backward(*dy);
    for (Parameter* parameter : parameters) add_nothing(*parameter);
  });
}

void Tape::use(Parameter& parameter) {
  if (!recording()) return;
  ++parameter.uses_pending_;
  used_.push_back(&parameter);
}

void Tape::finish(Parameter& parameter) {
  invariant(parameter.uses_pending_ > 0, "a parameter's gradient is finished once per use");
  if (--parameter.uses_pending_ == 0 && ready_hook_) ready_hook_(parameter);
}

void Tape::add_nothing(Parameter& parameter) {
  const Gradient target = parameter.gradient_target();
  if (target.tensor.defined() && target.write == Write::assign) ops().fill(target.tensor, 0.0f);
  finish(parameter);
}

void Tape::backward() {
  invariant(recording(), "a tape that does not record has no backward pass");
  while (!functions_.empty()) {
    const auto function = std::move(functions_.back());
    functions_.pop_back();
    function();
  }
}

Gradient Tape::gradient_target(const Tensor& like, Tensor& gradient) const {
  if (gradient.defined()) {
    unshare(gradient);
    return {gradient, Write::add};
  }
  gradient = empty(like.shape(), like.type());
  return {gradient, Write::assign};
}

void Tape::add_gradient(const Tensor& dy, Tensor& gradient) const {
  if (!gradient.defined()) {
    gradient = dy;
    return;
  }
  const Tensor sum = writable(gradient);
  ops().add(gradient, dy, sum);
  gradient = sum;
}

std::shared_ptr<ActivationArgument> Tape::argument_of(Activation activation, Shape shape,
                                                      DataType type) const {
  if (activation == Activation::none || !recording()) return nullptr;
  return std::make_shared<ActivationArgument>(
      ActivationArgument{.activation = activation, .value = empty(shape, type)});
}

void Tape::pass_activation(const ActivationArgument& argument, Tensor& gradient) const {
  if (argument.has_gradient) return;
  const Tensor target = writable(gradient);
  ops().activation_backward(argument.activation, argument.value, gradient, target);
  gradient = target;
}

void Tape::write_linear_grad_input(const Tensor& dy, const Tensor& w, const Value& x) const {
  // Of the gradient's place, x has one hold, and the function that made x the other.
  const bool alone = x.gradient().use_count() == 2 && !x.gradient()->defined();
  const Gradient target = gradient_target(x.tensor(), *x.gradient());
  if (x.argument() == nullptr || !alone) return ops().linear_grad_input(dy, w, target);
  ops().linear_grad_activation(dy, w, x.argument()->activation, x.argument()->value, target.tensor);
  x.argument()->has_gradient = true;
}

Tensor Tape::writable(const Tensor& dy) const {
  return dy.shared() ? empty(dy.shape(), dy.type()) : dy;
}

void Tape::unshare(Tensor& gradient) const {
  if (!gradient.shared()) return;
  const Tensor copy = empty(gradient.shape(), gradient.type());
  ops().convert(gradient, copy);
  gradient = copy;
}

}  // namespace train

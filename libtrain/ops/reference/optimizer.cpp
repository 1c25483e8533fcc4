#include <cmath>

#include "libtrain/ops/reference/ops.hpp"
#include "libtrain/ops/reference/values.hpp"

namespace train::reference {

void ReferenceOps::adamw(std::span<const AdamWPart> parts, const AdamWStep& step) {
  for (const AdamWPart& part : parts) update(part, step);
}

void ReferenceOps::update(const AdamWPart& part, const AdamWStep& step) {
  const auto& [parameter, master, gradient, m, v, weight_decay] = part;
  invariant(master.defined() == (parameter.type() == DataType::bf16),
            "adamw: a bf16 parameter, and no other, has a master copy");
  const Tensor& precise = master.defined() ? master : parameter;
  const Eigen::ArrayXd g = read_vector(gradient).array() * static_cast<double>(step.gradient_scale);
  Eigen::ArrayXd p = read_vector(precise).array();
  Eigen::ArrayXd first = read_vector(m).array();
  Eigen::ArrayXd second = read_vector(v).array();
  invariant(parameter.elements() == p.size() && g.size() == p.size() && first.size() == p.size() &&
                second.size() == p.size(),
            "adamw: parameter, master, gradient, m and v have the same size");

  const double beta1 = step.beta1;
  const double beta2 = step.beta2;
  const double lr = step.lr;
  const double correction1 = 1.0 - std::pow(beta1, static_cast<double>(step.step));
  const double correction2 = 1.0 - std::pow(beta2, static_cast<double>(step.step));
  first = beta1 * first + (1.0 - beta1) * g;
  second = beta2 * second + (1.0 - beta2) * g.square();
  p *= 1.0 - lr * static_cast<double>(weight_decay);
  p -= lr * (first / correction1) / ((second / correction2).sqrt() + static_cast<double>(step.eps));

  write(first.matrix().transpose(), m);
  write(second.matrix().transpose(), v);
  write(p.matrix().transpose(), precise);
  if (master.defined()) convert(master, parameter);
}

double ReferenceOps::sum_of_squares(std::span<const Tensor> parts) {
  double sum = 0.0;
  for (const Tensor& part : parts) {
    for (const double value : read_vector(part)) sum += value * value;
  }
  return sum;
}

bool ReferenceOps::all_finite(const Tensor& x) {
  for (const double value : read_vector(x)) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

}  // namespace train::reference

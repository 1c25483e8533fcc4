#include "libtrain/ops/adamw_factors.hpp"

#include <cmath>

namespace train {

AdamWFactors::AdamWFactors(const AdamWStep& step)
    : gradient_scale(step.gradient_scale),
      beta1(step.beta1),
      one_minus_beta1(1.0f - step.beta1),
      beta2(step.beta2),
      one_minus_beta2(1.0f - step.beta2),
      eps(step.eps) {
  const auto t = static_cast<double>(step.step);
  const double correction1 = 1.0 - std::pow(static_cast<double>(beta1), t);
  const double correction2 = 1.0 - std::pow(static_cast<double>(beta2), t);
  step_size = static_cast<float>(step.lr / correction1);
  root_variance = static_cast<float>(1.0 / std::sqrt(correction2));
}

float adamw_decay(float lr, float weight_decay) {
  return static_cast<float>(1.0 - static_cast<double>(lr) * weight_decay);
}

}  // namespace train

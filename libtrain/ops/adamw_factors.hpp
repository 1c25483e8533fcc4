#pragma once

#include "libtrain/ops/ops.hpp"

namespace train {

/// What all elements of a step of AdamW share, bias corrections folded in.
struct AdamWFactors {
  explicit AdamWFactors(const AdamWStep& step);

  float gradient_scale, beta1, one_minus_beta1, beta2, one_minus_beta2;
  float step_size;      ///< lr / (1 - beta1^t)
  float root_variance;  ///< 1 / sqrt(1 - beta2^t)
  float eps;
};

/// What a step multiplies a parameter by before it moves it: 1 - lr · weight_decay.
float adamw_decay(float lr, float weight_decay);

}  // namespace train

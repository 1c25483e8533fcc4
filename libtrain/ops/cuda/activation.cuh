#pragma once

#include <cuda_runtime.h>

#include "libtrain/ops/ops.hpp"

namespace train::cuda {

__device__ __forceinline__ float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

/// Twice GELU's inner u = sqrt(2/pi) (x + 0.044715 x³): x/2 · (1 + tanh(u)) = x · sigmoid(2u)
/// (Hendrycks, Gimpel: "Gaussian error linear units", 2016).
__device__ __forceinline__ float gelu_argument(float x) {
  return 1.5957691216057308f * (x + 0.044715f * x * x * x);
}

__device__ __forceinline__ float activate(Activation activation, float x) {
  if (activation == Activation::gelu_tanh) return x * sigmoid(gelu_argument(x));
  if (activation == Activation::silu) return x * sigmoid(x);
  return x;
}

/// d activate / dx.
__device__ __forceinline__ float activate_slope(Activation activation, float x) {
  if (activation == Activation::gelu_tanh) {
    const float s = sigmoid(gelu_argument(x));
    return s + x * s * (1.0f - s) * (1.5957691216057308f * (1.0f + 3.0f * 0.044715f * x * x));
  }
  if (activation == Activation::silu) {
    const float s = sigmoid(x);
    return s + x * s * (1.0f - s);
  }
  return 1.0f;
}

}  // namespace train::cuda

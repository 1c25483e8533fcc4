#pragma once

#include <cstdint>

namespace train {

/// What the data group's ranks share instead of each holding it (Rajbhandari et al.: "ZeRO: memory
/// optimizations toward training trillion parameter models", SC 2020). For Ψ parameters in f32 over
/// N data ranks, bytes that stay on a rank:
enum class Zero : std::uint8_t {
  stage0,  ///< nothing: 16 Ψ
  stage1,  ///< the optimizer's state: 8 Ψ + 8 Ψ / N
  stage2,  ///< and gradients: 4 Ψ + 12 Ψ / N
  stage3,  ///< and parameters: 16 Ψ / N
};

/// Throws Error unless `stage` is 0 to 3.
Zero zero_from(int stage);

}  // namespace train

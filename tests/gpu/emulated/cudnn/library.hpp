#pragma once

namespace emulated::cudnn {

/// Whether programs find the emulated cuDNN. They do not, unless they say so before they open a
/// device: own kernels are what the emulation of CUDA is for.
inline bool present = false;
/// Whether it has kernels whose sums come in any order.
inline bool any_order = true;

}  // namespace emulated::cudnn

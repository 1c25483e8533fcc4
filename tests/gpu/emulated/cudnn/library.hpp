#pragma once

namespace emulated::cudnn {

/// Whether programs find the emulated cuDNN. They do not, unless they say so before they open a
/// device: own kernels are what the emulation of CUDA is for.
inline bool present = false;

}  // namespace emulated::cudnn

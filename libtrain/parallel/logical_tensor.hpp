#pragma once

#include <string>

#include "libtrain/tensor/layout.hpp"
#include "libtrain/tensor/tensor.hpp"

namespace train {

/// A tensor of the training state as all ranks see it, and this rank's blocks of it.
struct LogicalTensor {
  std::string name;
  DataType type = DataType::f32;
  Layout layout;  ///< over the ranks of the grid
  Tensor local;   ///< this rank's blocks, one after another, as one flat extent; may be undefined
};

}  // namespace train

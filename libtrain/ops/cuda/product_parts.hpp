#pragma once

#include <vector>

#include "libtrain/ops/cuda/matrix.hpp"

namespace train::cuda {

/// The products to run one after the other in place of one whose extents are odd, so that nearly
/// all of it goes through fast kernels; itself where they are not. None where a sum in two parts
/// would round between them.
std::vector<Product> parts_of(const Product& product);

}  // namespace train::cuda

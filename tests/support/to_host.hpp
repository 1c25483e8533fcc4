#pragma once

#include <span>
#include <vector>

#include "libtrain/tensor/tensor.hpp"

namespace train::test {

/// The values of an f32 tensor on any device.
inline std::vector<float> to_host(const Tensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  tensor.copy_to_host(std::as_writable_bytes(std::span(values)));
  return values;
}

}  // namespace train::test

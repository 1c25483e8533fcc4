#include "tests/golden/models/device.hpp"

std::unique_ptr<train::Device> golden_device() {
  return train::make_cuda_device(0);
}

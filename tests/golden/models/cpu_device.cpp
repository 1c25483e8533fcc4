#include "tests/golden/models/device.hpp"

std::unique_ptr<train::Device> golden_device() {
  return train::make_cpu_device(1);
}

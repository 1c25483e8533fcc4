#include <algorithm>

#include "tests/support/rank_device.hpp"

namespace train::test {

std::unique_ptr<Device> rank_device(int rank) {
  return make_cuda_device(rank % count_cuda_devices());
}

int rank_steps(int steps) {
  return std::min(steps, 3);
}

}  // namespace train::test

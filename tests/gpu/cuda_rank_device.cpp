#include "tests/support/rank_device.hpp"

namespace train::test {

std::unique_ptr<Device> rank_device() {
  return make_cuda_device(0);
}

}  // namespace train::test

#include "tests/unit/ops/devices.hpp"

namespace train::test {

std::vector<NamedDevice> devices_to_compare() {
  std::vector<NamedDevice> devices;
  devices.push_back(
      {"cuda, with sums in any order", make_cuda_device(0, 1, SumOrder::any), SumOrder::any});
  return devices;
}

}  // namespace train::test

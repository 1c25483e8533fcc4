#include "tests/unit/ops/devices.hpp"

namespace train::test {

std::vector<NamedDevice> devices_to_compare() {
  std::vector<NamedDevice> devices;
  devices.push_back({"cuda", make_cuda_device(0)});
  return devices;
}

}  // namespace train::test

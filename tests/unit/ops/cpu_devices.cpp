#include "tests/unit/ops/devices.hpp"

namespace train::test {

std::vector<NamedDevice> devices_to_compare() {
  std::vector<NamedDevice> devices;
  devices.push_back({"cpu, 1 thread", make_cpu_device(1)});
  devices.push_back({"cpu, 2 threads", make_cpu_device(2)});
  return devices;
}

}  // namespace train::test

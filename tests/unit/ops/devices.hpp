#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libtrain/ops/device.hpp"

namespace train::test {

struct NamedDevice {
  std::string name;
  std::unique_ptr<Device> device;
};

/// Every device whose ops the tests compare with the reference.
inline std::vector<NamedDevice> devices_to_compare() {
  std::vector<NamedDevice> devices;
  devices.push_back({"cpu, 1 thread", make_cpu_device(1)});
  devices.push_back({"cpu, 2 threads", make_cpu_device(2)});
  return devices;
}

/// The same, and the reference itself: for answers that are known from elsewhere.
inline std::vector<NamedDevice> all_devices() {
  std::vector<NamedDevice> devices = devices_to_compare();
  devices.push_back({"reference", make_reference_device()});
  return devices;
}

}  // namespace train::test

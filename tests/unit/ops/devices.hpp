#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libtrain/ops/device.hpp"

namespace train::test {

struct NamedDevice {
  std::string name;
  std::unique_ptr<Device> device;
  SumOrder order = SumOrder::fixed;  ///< of any order, calls need not give the same bits twice
};

/// Every device whose ops the tests compare with the reference: the CPU's, or in the programs of
/// tests/gpu the GPU's.
std::vector<NamedDevice> devices_to_compare();

/// The same, and the reference itself: for answers that are known from elsewhere.
inline std::vector<NamedDevice> all_devices() {
  std::vector<NamedDevice> devices = devices_to_compare();
  devices.push_back({"reference", make_reference_device()});
  return devices;
}

}  // namespace train::test

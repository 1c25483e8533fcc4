#include "libtrain/ops/device.hpp"

#include "libtrain/ops/reference/ops.hpp"
#include "libtrain/tensor/cpu/cpu_memory.hpp"

namespace train {

std::unique_ptr<Device> make_reference_device() {
  return std::make_unique<Device>(std::make_unique<CpuMemory>(),
                                  std::make_unique<reference::ReferenceOps>(), 1);
}

}  // namespace train

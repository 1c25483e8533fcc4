#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/tensor/cuda/cuda_memory.hpp"
#include "tests/unit/ops/devices.hpp"

namespace train::test {

std::vector<NamedDevice> devices_to_compare() {
  auto memory = std::make_unique<cuda::CudaMemory>(0);
  auto ops = std::make_unique<cuda::CudaOps>(*memory, cuda::AttentionKernels::own);
  const Gpu gpu{0, memory->stream().get()};
  std::vector<NamedDevice> devices;
  devices.push_back({"cuda, with its own attention",
                     std::make_unique<Device>(std::move(memory), std::move(ops), 1, gpu)});
  return devices;
}

}  // namespace train::test

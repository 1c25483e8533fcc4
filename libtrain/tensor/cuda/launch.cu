#include <string>

#include "libtrain/tensor/cuda/launch.cuh"

namespace train::cuda::detail {
namespace {

// A block has 48 KiB of shared memory unless a kernel asks for more, for what is dynamic and what
// the kernel's own variables take of it: at most 8 KiB.
constexpr std::size_t shared_bytes_without_asking = 40 * 1024;

std::string name_of(const void* kernel) {
  const char* name = nullptr;
  const cudaError_t status = cudaFuncGetName(&name, kernel);
  return std::string("launch of ").append(status == cudaSuccess ? name : "a kernel");
}

}  // namespace

void launch(const void* kernel, const LaunchShape& shape, const Stream& stream, void** parameters) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  stream.use();
  cudaError_t status = cudaSuccess;
  if (shape.shared_bytes > shared_bytes_without_asking) {
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shape.shared_bytes));
  }
  if (status == cudaSuccess) {
    cudaLaunchConfig_t config{};
    config.gridDim = shape.grid;
    config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.shared_bytes;
    config.stream = stream.get();
    status = cudaLaunchKernelExC(&config, kernel, parameters);
  }
  if (status != cudaSuccess) check(status, name_of(kernel).c_str());
}

}  // namespace train::cuda::detail

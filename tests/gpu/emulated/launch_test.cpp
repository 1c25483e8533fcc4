// How kernels are started on a GPU (libtrain/tensor/cuda/launch.cu, for which the emulation has its
// own way), over a CUDA that only keeps to the rules for shared memory.
#include "libtrain/tensor/cuda/launch.cuh"

#include <doctest/doctest.h>

#include "collectives/error.hpp"

namespace {

// A kernel's own variables, and what it was allowed to have dynamically. Both together may be 48
// KiB, and 227 KiB on request.
struct Kernel {
  std::size_t own_bytes = 0;
  std::size_t dynamic_bytes_max = 48 * 1024 - own_bytes;
  std::size_t launched_bytes = 0;
};
Kernel kernel;

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int bytes) {
  const auto wanted = static_cast<std::size_t>(bytes);
  if (wanted + kernel.own_bytes > 227 * 1024) return cudaErrorInvalidValue;
  kernel.dynamic_bytes_max = wanted;
  return cudaSuccess;
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void*, void**) {
  if (config->dynamicSmemBytes > kernel.dynamic_bytes_max) return cudaErrorInvalidValue;
  kernel.launched_bytes = config->dynamicSmemBytes;
  return cudaSuccess;
}

cudaError_t cudaFuncGetName(const char** name, const void*) {
  *name = "a_kernel";
  return cudaSuccess;
}

}  // namespace

#include "libtrain/tensor/cuda/launch.cu"

using namespace train::cuda;

TEST_CASE("a launch asks for the shared memory that it needs beside the kernel's own variables") {
  const Stream stream(0);
  for (const std::size_t own : {0, 256, 8 * 1024}) {
    for (std::size_t dynamic = 0; dynamic <= 99 * 1024; dynamic += 512) {
      CAPTURE(own);
      CAPTURE(dynamic);
      kernel = {.own_bytes = own};
      LaunchShape shape;
      shape.shared_bytes = dynamic;
      detail::launch(nullptr, shape, stream, nullptr);
      CHECK(kernel.launched_bytes == dynamic);
    }
  }
}

TEST_CASE("a launch that is refused is told by the kernel's name; one of no blocks is none") {
  const Stream stream(0);
  kernel = {.own_bytes = 1024};
  LaunchShape shape;
  shape.shared_bytes = 227 * 1024;
  CHECK_THROWS_WITH_AS(detail::launch(nullptr, shape, stream, nullptr),
                       doctest::Contains("launch of a_kernel"), train::Error);
  shape.grid = dim3(1, 0);
  detail::launch(nullptr, shape, stream, nullptr);
}

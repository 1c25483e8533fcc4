#include "libtrain/ops/cuda/peak_flops.hpp"

#include <array>

#include <cuda_runtime.h>

#include "libtrain/tensor/cuda/check.hpp"

namespace train::cuda {
namespace {

struct Sheet {
  int capability;
  int multiprocessors;
  double f32_tflops;
  double bf16_tflops;
};

constexpr std::array sheets = {
    Sheet{80, 108, 19.5, 312.0},    // A100
    Sheet{86, 72, 31.2, 125.0},     // A10
    Sheet{86, 84, 37.4, 149.7},     // A40
    Sheet{89, 58, 30.3, 121.0},     // L4
    Sheet{89, 142, 91.6, 362.0},    // L40S
    Sheet{90, 114, 51.0, 756.0},    // H100 PCIe
    Sheet{90, 132, 67.0, 989.0},    // H100 SXM, H200
    Sheet{100, 148, 80.0, 2250.0},  // B200
};

// Of one multiprocessor in one clock.
struct PerClock {
  int capability;
  double f32;
  double bf16;
};

constexpr std::array generations = {
    PerClock{80, 128, 2048},  PerClock{86, 256, 1024}, PerClock{87, 256, 1024},
    PerClock{89, 256, 1024},  PerClock{90, 256, 4096}, PerClock{100, 256, 8192},
    PerClock{120, 256, 1024},
};

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

GpuKind kind_of(int device) {
  return {10 * attribute(cudaDevAttrComputeCapabilityMajor, device) +
              attribute(cudaDevAttrComputeCapabilityMinor, device),
          attribute(cudaDevAttrMultiProcessorCount, device),
          1e3 * attribute(cudaDevAttrClockRate, device)};
}

double peak_flops(const GpuKind& kind, DataType type) {
  const bool bf16 = type == DataType::bf16;
  for (const Sheet& sheet : sheets) {
    if (sheet.capability == kind.capability && sheet.multiprocessors == kind.multiprocessors) {
      return 1e12 * (bf16 ? sheet.bf16_tflops : sheet.f32_tflops);
    }
  }
  for (const PerClock& generation : generations) {
    if (generation.capability != kind.capability) continue;
    return (bf16 ? generation.bf16 : generation.f32) * kind.multiprocessors * kind.clock_hz;
  }
  return 0.0;
}

}  // namespace train::cuda

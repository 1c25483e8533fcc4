#include "libtrain/ops/cuda/peak_flops.hpp"

#include <array>

#include <cuda_runtime.h>

#include "libtrain/tensor/cuda/check.hpp"

namespace train::cuda {
namespace {

struct Sheet {
  std::string_view model;  // words of the name
  int multiprocessors;
  double f32_tflops;
  double bf16_tflops;
};

// Where one model's words are the beginning of another's, the longer one comes first.
constexpr std::array sheets = {
    Sheet{"A100", 108, 19.5, 312.0},      Sheet{"A30", 56, 10.3, 165.0},
    Sheet{"A10", 72, 31.2, 125.0},        Sheet{"A40", 84, 37.4, 149.7},
    Sheet{"RTX A6000", 84, 38.7, 154.8},  Sheet{"GeForce RTX 3090", 82, 35.6, 71.0},
    Sheet{"L4", 58, 30.3, 121.0},         Sheet{"L40", 142, 90.5, 181.0},
    Sheet{"L40S", 142, 91.6, 362.0},      Sheet{"GeForce RTX 4090", 128, 82.6, 165.2},
    Sheet{"H100 PCIe", 114, 51.0, 756.0}, Sheet{"H100 NVL", 132, 60.0, 835.0},
    Sheet{"H100", 132, 67.0, 989.0},                                        // SXM
    Sheet{"H200 NVL", 132, 60.0, 835.0},  Sheet{"H200", 132, 67.0, 989.0},  // SXM
    Sheet{"H20", 78, 44.0, 148.0},        Sheet{"B200", 148, 75.0, 2250.0},
};

// Whether the name has these words: "H20" is no part of "H200", "A100" is one of "A100-SXM4-80GB".
bool has_words(std::string_view name, std::string_view words) {
  const auto ends = [&](std::size_t at) {
    return at >= name.size() || name[at] == ' ' || name[at] == '-';
  };
  for (auto at = name.find(words); at != name.npos; at = name.find(words, at + 1)) {
    if ((at == 0 || ends(at - 1)) && ends(at + words.size())) return true;
  }
  return false;
}

}  // namespace

double peak_flops(std::string_view name, int multiprocessors, DataType type) {
  for (const Sheet& sheet : sheets) {
    if (!has_words(name, sheet.model)) continue;
    if (sheet.multiprocessors != multiprocessors) return 0.0;
    return 1e12 * (type == DataType::bf16 ? sheet.bf16_tflops : sheet.f32_tflops);
  }
  return 0.0;
}

double peak_flops(int device, DataType type) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  int multiprocessors = 0;
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
        "cudaDeviceGetAttribute");
  return peak_flops(properties.name, multiprocessors, type);
}

}  // namespace train::cuda

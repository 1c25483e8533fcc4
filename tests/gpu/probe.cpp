// Says whether GPU tests can run here: exits with 0, or with 77 ("skipped") and the reason.
#include <cstdio>
#include <exception>

#include "libtrain/ops/device.hpp"

int main() {
  try {
    std::printf("GPUs: %d\n", train::count_cuda_devices());
    return 0;
  } catch (const std::exception& error) {
    std::printf("skipped: %s\n", error.what());
    return 77;
  }
}

#include "collectives/error.hpp"
#include "libtrain/ops/device.hpp"

// What stands in for the CUDA backend where it is not built.

namespace train {
namespace {

[[noreturn]] void refuse() {
  throw Error(
      "--device cuda: this build has no CUDA; configure it with -DTRAIN_CUDA=ON where the CUDA "
      "toolkit (12 or later) is, or take --device cpu");
}

}  // namespace

std::unique_ptr<Device> make_cuda_device(int, int, SumOrder) {
  refuse();
}

int count_cuda_devices() {
  refuse();
}

std::string identity_of_cuda_device(int) {
  refuse();
}

}  // namespace train

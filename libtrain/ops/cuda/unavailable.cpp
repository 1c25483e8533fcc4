#include "collectives/error.hpp"
#include "libtrain/ops/device.hpp"

namespace train {

// What stands in for the CUDA backend where it is not built.
std::unique_ptr<Device> make_cuda_device(int) {
  throw Error(
      "--device cuda: this build has no CUDA; configure it with -DTRAIN_CUDA=ON where the CUDA "
      "toolkit (12 or later) is, or take --device cpu");
}

}  // namespace train

#include "collectives/error.hpp"
#include "collectives/nccl/world.hpp"

namespace train::nccl {

std::unique_ptr<Communicator> make_communicator(Communicator& host, const Options& options) {
  static_cast<void>(host);
  static_cast<void>(options);
  throw Error(
      "collectives between GPUs need NCCL, and this program was built without it: install NCCL "
      "2.19.1 or later and CUDA, and configure with -DTRAIN_CUDA=ON (NCCL_ROOT says where NCCL "
      "lies)");
}

}  // namespace train::nccl

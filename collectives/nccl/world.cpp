#include "collectives/nccl/world.hpp"

#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/nccl/gpu.hpp"
#include "collectives/nccl/transport.hpp"
#include "collectives/ordered/ordered_communicator.hpp"

namespace train::nccl {

std::unique_ptr<Communicator> make_communicator(Communicator& host, const Options& options) {
  auto* ordered = dynamic_cast<detail::OrderedCommunicator*>(&host);
  if (!ordered) {
    throw Error(
        fmt::format("collectives between GPUs cannot be built over group '{}': it is no "
                    "backend of this library",
                    host.name()));
  }
  auto gpu = std::make_shared<Gpu>(options);
  auto part = ordered->split_transport(0, host.rank(), host.name());
  return std::make_unique<detail::OrderedCommunicator>(
      std::make_shared<NcclTransport>(std::move(part), std::move(gpu)), ordered->timeout());
}

}  // namespace train::nccl

#include "collectives/process_grid.hpp"

#include <cstdint>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {

ProcessGrid::ProcessGrid(Communicator& world, GridShape shape) : world_(world), shape_(shape) {
  if (shape.data < 1 || shape.tensor < 1) {
    throw Error(fmt::format("grid of data {} x tensor {}: both must be at least 1", shape.data,
                            shape.tensor));
  }
  const auto needed = std::int64_t{shape.data} * shape.tensor;
  if (needed != world.size()) {
    throw Error(fmt::format(
        "grid of data {} x tensor {} needs {} ranks, but group '{}' has {}: "
        "start {} ranks or choose factors of {}",
        shape.data, shape.tensor, needed, world.name(), world.size(), needed, world.size()));
  }
  if (shape.shard < 0 || (shape.shard > 0 && shape.data % shape.shard != 0)) {
    throw Error(
        fmt::format("shard groups of {} ranks do not divide {} data ranks: choose a divisor of {}, "
                    "or 0 for all",
                    shape.shard, shape.data, shape.data));
  }
  const int data_rank = world.rank() / shape.tensor;
  const int tensor_rank = world.rank() % shape.tensor;
  tensor_ = world.split(data_rank, tensor_rank, "tensor");
  data_ = world.split(tensor_rank, data_rank, "data");
  if (shape.shard == 0 || shape.shard == shape.data) return;
  shard_ = data_->split(data_rank / shape.shard, data_rank, "shard");
  replicas_ = data_->split(data_rank % shape.shard, data_rank, "replicas");
}

}  // namespace train

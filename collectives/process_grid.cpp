#include "collectives/process_grid.hpp"

#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

std::string in_words(const GridShape& shape) {
  const std::string context = shape.context == 1 ? "" : fmt::format(" x context {}", shape.context);
  return fmt::format("data {}{} x tensor {}", shape.data, context, shape.tensor);
}

}  // namespace

ProcessGrid::ProcessGrid(Communicator& world, GridShape shape) : world_(world), shape_(shape) {
  const std::string words = in_words(shape);
  if (shape.data < 1 || shape.context < 1 || shape.tensor < 1) {
    throw Error(fmt::format("grid of {}: each must be at least 1", words));
  }
  const auto needed = std::int64_t{shape.data} * shape.context * shape.tensor;
  if (needed != world.size()) {
    throw Error(
        fmt::format("grid of {} needs {} ranks, but group '{}' has {}: start {} ranks or choose "
                    "factors of {}",
                    words, needed, world.name(), world.size(), needed, world.size()));
  }
  const int ranks = shape.data * shape.context;
  if (shape.shard < 0 || (shape.shard > 0 && ranks % shape.shard != 0)) {
    throw Error(
        fmt::format("shard groups of {} ranks do not divide {} data ranks: choose a divisor of {}, "
                    "or 0 for all",
                    shape.shard, ranks, ranks));
  }
  const int data_rank = world.rank() / shape.tensor;
  const int tensor_rank = world.rank() % shape.tensor;
  tensor_ = world.split(data_rank, tensor_rank, "tensor");
  data_ = world.split(tensor_rank, data_rank, "data");
  context_ = data_->split(data_rank / shape.context, data_rank, "context");
  if (shape.shard == 0 || shape.shard == ranks) return;
  shard_ = data_->split(data_rank / shape.shard, data_rank, "shard");
  replicas_ = data_->split(data_rank % shape.shard, data_rank, "replicas");
}

}  // namespace train

#pragma once

#include <memory>

#include "collectives/communicator.hpp"

namespace train {

/// How many ranks each kind of parallelism takes; their product is the count of ranks.
struct GridShape {
  int data = 1;
  int tensor = 1;
};

/// A cluster's ranks as data × tensor. World rank = data_rank * tensor + tensor_rank: the tensor
/// group, which talks in every layer, holds neighbours; the data group talks once per step.
class ProcessGrid {
 public:
  /// Collective over `world`, which must outlive the grid. Throws Error if a part of `shape` is not
  /// positive or data * tensor differs from world.size().
  ProcessGrid(Communicator& world, GridShape shape);

  GridShape shape() const { return shape_; }
  Communicator& world() const { return world_; }
  /// The ranks that hold the same slice of the model and see different samples.
  Communicator& data() const { return *data_; }
  /// The ranks that share one copy of the model and see the same samples.
  Communicator& tensor() const { return *tensor_; }
  int data_rank() const { return data_->rank(); }
  int tensor_rank() const { return tensor_->rank(); }

 private:
  Communicator& world_;
  GridShape shape_;
  std::unique_ptr<Communicator> data_;
  std::unique_ptr<Communicator> tensor_;
};

}  // namespace train

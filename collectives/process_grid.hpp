#pragma once

#include <memory>

#include "collectives/communicator.hpp"

namespace train {

/// How many ranks each kind of parallelism takes; their product is the count of ranks.
struct GridShape {
  int data = 1;
  int context = 1;
  int tensor = 1;
  int shard = 0;  ///< of the data × context ranks, neighbours that shards lie on; 0: all
};

/// A cluster's ranks as data × context × tensor. World rank = data_rank * tensor + tensor_rank: the
/// tensor group, which talks in every layer, holds neighbours; the data group talks once per step.
/// Context groups, which talk in every attention, are neighbours in the data group: their ranks
/// have the same sequences but other rows of them, so that gradients sum over both alike. The
/// data group may consist of several shard groups of neighbours, which fast networks join, with
/// copies of each other's shards (Zhang et al.: "MiCS", VLDB 2022; PyTorch's hybrid sharding).
class ProcessGrid {
 public:
  /// Collective over `world`, which must outlive the grid. Throws Error if a part of `shape` is not
  /// positive, data * context * tensor differs from world.size(), or shard does not divide
  /// data * context.
  ProcessGrid(Communicator& world, GridShape shape);

  const GridShape& shape() const { return shape_; }
  Communicator& world() const { return world_; }
  /// The ranks that hold the same slice of the model and see different samples, or different rows
  /// of the same ones: data × context.
  Communicator& data() const { return *data_; }
  /// The ranks of the data group that share samples by their rows.
  Communicator& context() const { return *context_; }
  /// The ranks that share one copy of the model and see the same samples.
  Communicator& tensor() const { return *tensor_; }
  /// The ranks of the data group that have one copy of what is sharded; all of them unless `shape`
  /// says otherwise.
  Communicator& shard() const { return shard_ ? *shard_ : *data_; }
  /// The ranks of the data group that hold copies of this one's shards; nullptr where nobody does.
  Communicator* replicas() const { return replicas_.get(); }
  int data_rank() const { return data_->rank(); }
  int tensor_rank() const { return tensor_->rank(); }

 private:
  Communicator& world_;
  GridShape shape_;
  std::unique_ptr<Communicator> data_;
  std::unique_ptr<Communicator> context_;
  std::unique_ptr<Communicator> tensor_;
  std::unique_ptr<Communicator> shard_;
  std::unique_ptr<Communicator> replicas_;
};

}  // namespace train

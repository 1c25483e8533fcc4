#pragma once

#include <memory>
#include <string>

#include "collectives/process_grid.hpp"
#include "libtrain/ops/device.hpp"

namespace train {

struct GridOptions {
  int data = 0;                ///< ranks of data parallelism; 0: all that tensor leaves
  int tensor = 1;              ///< ranks of tensor parallelism
  std::string device = "cpu";  ///< "cpu"
  int threads = 0;             ///< OpenMP threads of a rank; 0: the node's cores, shared evenly
};

/// A cluster's ranks as data × tensor, and this rank's device.
class Grid {
 public:
  /// Collective over `world`, which must outlive the grid. Throws Error when the ranks do not
  /// make the shape or the device does not exist.
  Grid(Communicator& world, const GridOptions& options, std::unique_ptr<Device> device);

  Communicator& world() const { return ranks_.world(); }
  /// The ranks that hold the same part of the model and see other sequences.
  Communicator& data() const { return ranks_.data(); }
  /// The ranks that share one copy of the model and see the same sequences.
  Communicator& tensor() const { return ranks_.tensor(); }
  int rank() const { return world().rank(); }
  Device& device() const { return *device_; }

 private:
  // The device goes last: collectives under way may still write into its memory.
  std::unique_ptr<Device> device_;
  ProcessGrid ranks_;
};

/// The device that the options name. `ranks_on_node` share the node's cores.
std::unique_ptr<Device> make_device(const GridOptions& options, int ranks_on_node);
/// The threads that a rank of these options runs.
int threads_per_rank(const GridOptions& options, int ranks_on_node);

}  // namespace train

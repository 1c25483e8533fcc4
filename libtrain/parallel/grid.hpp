#pragma once

#include <memory>
#include <string>
#include <vector>

#include "collectives/process_grid.hpp"
#include "libtrain/ops/device.hpp"

namespace train {

struct GridOptions {
  int data = 0;                ///< ranks of data parallelism; 0: all that the others leave
  int context = 1;             ///< ranks that share each sequence's rows
  int tensor = 1;              ///< ranks of tensor parallelism
  int shard = 0;               ///< data × context ranks that share what ZeRO divides; 0: all
  std::string device = "cpu";  ///< "cpu", or "cuda": a GPU for each rank
  bool share_gpu = false;      ///< several ranks may have one GPU
  int threads = 0;             ///< OpenMP threads of a rank; 0: the node's cores, shared evenly
  /// Of the GPU, where the device is one. Ranks may differ in it: what they hold copies of comes
  /// from sums over ranks, which all of them get with the same bits (parallelize() sees to that).
  SumOrder sum_order = SumOrder::fixed;
};

/// A cluster's ranks as data × context × tensor, and this rank's device.
class Grid {
 public:
  /// Collective over `world`, which must outlive the grid. Where the device is a GPU, the grid's
  /// groups carry what lies in its memory by NCCL, and what lies on the host as `world` does.
  /// Throws Error when the ranks do not make the shape, or a tensor group's ranks compute on the
  /// host with different numbers of threads (fewest_threads()).
  Grid(Communicator& world, const GridOptions& options, std::unique_ptr<Device> device);

  /// All ranks.
  Communicator& world() const { return ranks_.world(); }
  /// The ranks that hold the same part of the model and see other sequences, or other rows of the
  /// same: gradients are summed over all of them.
  Communicator& data() const { return ranks_.data(); }
  /// The ranks of the data group that see the same sequences, and share their rows.
  Communicator& context() const { return ranks_.context(); }
  /// Into how many parts a batch's sequences are dealt out, and which of them this rank sees.
  int batch_parts() const { return shape().data; }
  int batch_part() const { return data().rank() / shape().context; }
  /// The ranks that share one copy of the model and see the same sequences.
  Communicator& tensor() const { return ranks_.tensor(); }
  /// The ranks of the data group among which ZeRO divides, and those with copies of this one's
  /// part; nullptr where there are none.
  Communicator& shard() const { return ranks_.shard(); }
  Communicator* replicas() const { return ranks_.replicas(); }
  const GridShape& shape() const { return ranks_.shape(); }
  int rank() const { return world().rank(); }
  Device& device() const { return *device_; }
  SumOrder sum_order() const { return sum_order_; }

 private:
  // The device goes last: collectives under way may still write into its memory.
  std::unique_ptr<Device> device_;
  std::unique_ptr<Communicator> world_of_gpus_;
  ProcessGrid ranks_;
  SumOrder sum_order_;
};

/// A rank's place among those on its node.
struct NodePlace {
  int rank = 0;
  int ranks = 1;
};

/// Throws Error where no device is called so.
void require_device_name(const std::string& name);
/// The device that the options name, for the rank at this place: the node's ranks share its cores,
/// and take its GPUs in turn. Throws Error where there is none.
std::unique_ptr<Device> make_device(const GridOptions& options, NodePlace place);
/// The GPU that the rank at this place takes, of as many as its process sees.
int choose_gpu(NodePlace place, int gpus);
/// How many ranks of the node have that GPU before this one. Those of one number have a GPU each.
int ranks_before_on_gpu(NodePlace place, int gpus);
/// The identities of all ranks' GPUs, of up to 64 bytes, by rank. Collective over all of them.
std::vector<std::string> gpus_of_ranks(Communicator& world, const std::string& identity);
/// Collective over all ranks of a job on GPUs, each of which passes its GPU's identity. Throws
/// Error, on every rank, when two have the same.
void require_own_gpus(Communicator& world, const std::string& identity);
/// The threads that a rank of these options runs.
int threads_per_rank(const GridOptions& options, int ranks_on_node);
/// The fewest that a rank of this one's tensor group would run on its own. The order of sums goes
/// by threads, and each rank of the group computes gradients of what all of them hold, norms for
/// one: with different numbers their copies would drift apart. Collective over all ranks.
int fewest_threads(Communicator& world, const GridOptions& options, int own);

}  // namespace train

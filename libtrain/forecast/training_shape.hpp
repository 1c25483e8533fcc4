#pragma once

#include "libtrain/model/forward_context.hpp"
#include "libtrain/model/gpt_config.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"

namespace train {

/// What the memory, the traffic and the time of a training step depend on: what train_gpt's flags
/// say of model, grid and batch.
struct TrainingShape {
  GptConfig config = {};  ///< with the context that is trained
  int data = 1;           ///< parts into which sequences are dealt out
  int context = 1;        ///< ranks that share each sequence
  int tensor = 1;
  int shard = 0;  ///< of the data group, ranks that share what ZeRO divides; 0: all
  bool sequence_parallel = true;
  DataType type = DataType::f32;
  Recompute recompute = Recompute::none;
  OptimizerOptions optimizer = {};
  std::int64_t sequences = 1;  ///< of one pass of a data rank
  int passes = 1;              ///< of a step
  bool gpu = false;
  std::int64_t lane_bytes = 0;  ///< of a rank that carries a lane, in the host's memory

  /// Of a pass, over the ranks that share its sequences.
  std::int64_t rows() const { return sequences * config.context; }
  /// Of the group over which gradients are summed.
  int data_ranks() const { return data * context; }
  int shard_ranks() const { return shard == 0 ? data_ranks() : shard; }
  /// Ranks with copies of each shard, which sum their gradients once they are summed among shards.
  int replicas() const { return optimizer.zero == Zero::stage0 ? 1 : data_ranks() / shard_ranks(); }
  std::int64_t element() const { return static_cast<std::int64_t>(size_of(type)); }
  std::int64_t gradient() const {
    return static_cast<std::int64_t>(size_of(optimizer.gradient_type));
  }
  bool splits_rows() const { return sequence_parallel && tensor > 1; }
};

}  // namespace train

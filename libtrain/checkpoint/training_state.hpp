#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "libtrain/checkpoint/checkpoint_reader.hpp"
#include "libtrain/checkpoint/store.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"

namespace train {

/// Names of a checkpoint's parts.
inline constexpr const char* model_part = "model";
inline constexpr const char* optimizer_part = "optimizer";
inline constexpr const char* outer_part = "outer";  ///< in jobs of several clusters

/// Parameters (part "model"), and moments and full-precision copies (part "optimizer") after so
/// many steps as the optimizer has done. Collective in that all ranks pass the same.
CheckpointContents training_state(const ShardedOptimizer& optimizer);

enum class LoadWhat : std::uint8_t {
  everything,  ///< to go on training
  parameters,  ///< to fine-tune: moments stay as they are
};

/// Fills the optimizer's parameters and state with those of a checkpoint, whatever grid, ZeRO stage
/// and type wrote it: f32 values come from the full-precision copies where there are any, and
/// full-precision copies from f32 values. Sets the steps done, unless parameters alone are loaded.
/// Each rank reads its shards; then the ranks share the parameters out
/// (optimizer.publish_full_precision(), collective), which is the caller's to do once all ranks
/// have loaded. Throws Error naming file and tensor when the checkpoint is of another model or
/// damaged; the state is then partly the checkpoint's. `rank` is that of the grid's world.
void load_training_state(CheckpointReader& checkpoint, ShardedOptimizer& optimizer, int rank,
                         LoadWhat what = LoadWhat::everything);

/// What a run does at its start: loads the newest checkpoint of the store, or with `fall_back` the
/// newest that is whole, and shares the parameters out. Returns its manifest's extra JSON; nothing
/// when the store holds no checkpoint. Collective; throws the same Error on every rank.
std::optional<std::string> resume_training(CheckpointStore& store, Communicator& world,
                                           ShardedOptimizer& optimizer,
                                           const CheckpointStore::LoadOptions& options,
                                           LoadWhat what = LoadWhat::everything);

/// The same for a model without an optimizer, after parallelize(): `rank` is that of the tensor
/// group.
void load_parameters(CheckpointReader& checkpoint, Gpt& model);

}  // namespace train

#include "libtrain/checkpoint/training_state.hpp"

#include <set>

#include <fmt/format.h>

namespace train {
namespace {

constexpr std::string_view master_suffix = ".master";

// A model that is larger than the one at hand would load without complaint.
void check_same_parameters(const CheckpointReader& checkpoint, const std::set<std::string>& names) {
  for (const auto& tensor : checkpoint.manifest().tensors) {
    if (tensor.part == model_part && !names.contains(tensor.name)) {
      throw Error(
          fmt::format("{}: tensor {} is not in the model; choose the --model that the "
                      "checkpoint was saved from",
                      checkpoint.directory().string(), tensor.name));
    }
  }
}

// Full precision serves targets that can hold it; a bf16 parameter is what training had.
void load_parameter(CheckpointReader& checkpoint, const LogicalTensor& target, int rank) {
  const Manifest::StoredTensor* full =
      target.type == DataType::bf16
          ? nullptr
          : checkpoint.manifest().find(optimizer_part, target.name + std::string(master_suffix));
  if (full != nullptr) {
    checkpoint.load(*full, target, rank);
  } else {
    checkpoint.load(model_part, target, rank);
  }
}

}  // namespace

CheckpointContents training_state(const ShardedOptimizer& optimizer) {
  return {.step = optimizer.steps_done(),
          .parts = {{model_part, optimizer.parameters()}, {optimizer_part, optimizer.state()}}};
}

void load_training_state(CheckpointReader& checkpoint, ShardedOptimizer& optimizer, int rank,
                         LoadWhat what) {
  // The shards of what the optimizer updates: full-precision copies where the model is bf16, else
  // the parameters themselves.
  const auto parameters = optimizer.full_precision();
  std::set<std::string> names;
  for (const LogicalTensor& parameter : parameters) names.insert(parameter.name);
  check_same_parameters(checkpoint, names);
  for (const LogicalTensor& parameter : parameters) load_parameter(checkpoint, parameter, rank);
  if (what == LoadWhat::parameters) return;
  for (const LogicalTensor& tensor : optimizer.state()) {
    if (!tensor.name.ends_with(master_suffix)) checkpoint.load(optimizer_part, tensor, rank);
  }
  optimizer.resume_at(checkpoint.step());
}

std::optional<std::string> resume_training(CheckpointStore& store, Communicator& world,
                                           ShardedOptimizer& optimizer,
                                           const CheckpointStore::LoadOptions& options,
                                           LoadWhat what) {
  std::string extra;
  const auto loaded = store.load_newest(
      world,
      [&](CheckpointReader& checkpoint) {
        load_training_state(checkpoint, optimizer, world.rank(), what);
        extra = checkpoint.extra();
      },
      options);
  if (loaded.empty()) return std::nullopt;
  optimizer.publish_full_precision();
  return extra;
}

void load_parameters(CheckpointReader& checkpoint, Gpt& model) {
  std::set<std::string> names;
  for (const auto& parameter : model.parameters()) names.insert(parameter->name());
  check_same_parameters(checkpoint, names);
  for (const auto& parameter : model.parameters()) {
    load_parameter(checkpoint,
                   {parameter->name(), parameter->type(), parameter->layout(), parameter->value()},
                   parameter->layout_rank());
  }
}

}  // namespace train

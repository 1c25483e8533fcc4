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
const Manifest::StoredTensor& stored_parameter(const CheckpointReader& checkpoint,
                                               const LogicalTensor& target) {
  const Manifest::StoredTensor* full =
      target.type == DataType::bf16
          ? nullptr
          : checkpoint.manifest().find(optimizer_part, target.name + std::string(master_suffix));
  return full != nullptr ? *full : checkpoint.stored(model_part, target);
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
  std::vector<CheckpointReader::Wanted> wanted;
  for (const LogicalTensor& parameter : parameters) {
    wanted.push_back({&stored_parameter(checkpoint, parameter), &parameter, rank});
  }
  const auto state =
      what == LoadWhat::everything ? optimizer.state() : std::vector<LogicalTensor>();
  for (const LogicalTensor& tensor : state) {
    if (tensor.name.ends_with(master_suffix)) continue;
    wanted.push_back({&checkpoint.stored(optimizer_part, tensor), &tensor, rank});
  }
  checkpoint.load(wanted);
  if (what == LoadWhat::everything) optimizer.resume_at(checkpoint.step());
}

std::optional<std::string> resume_training(CheckpointStore& store, Communicator& world,
                                           ShardedOptimizer& optimizer,
                                           const CheckpointStore::LoadOptions& options,
                                           LoadWhat what) {
  std::string extra;
  const auto loaded = store.load(
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
  std::vector<LogicalTensor> targets;
  for (const auto& parameter : model.parameters()) {
    targets.push_back(
        {parameter->name(), parameter->type(), parameter->layout(), parameter->value()});
  }
  std::vector<CheckpointReader::Wanted> wanted;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    wanted.push_back({&stored_parameter(checkpoint, targets[i]), &targets[i],
                      model.parameters()[i]->layout_rank()});
  }
  checkpoint.load(wanted);
}

}  // namespace train

#include "libtrain/ops/cuda/cudnn/plan.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace train::cuda::cudnn {
namespace {

constexpr std::int64_t advice_max = 32;

std::vector<Descriptor> advice(const Graph& graph, const Target& target) {
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.descriptor());
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
  if (target.properties != nullptr) {
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.properties);
  }
  heuristic.finalize();
  return heuristic.descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                               advice_max);
}

Descriptor engine_of(const Descriptor& configuration) {
  std::vector<Descriptor> engines =
      configuration.descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1);
  if (engines.empty()) throw Refusal("a configuration without an engine");
  return std::move(engines.front());
}

bool repeatable(const Descriptor& engine) {
  const auto notes = engine.notes(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
  return std::find(notes.begin(), notes.end(), CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) ==
         notes.end();
}

Descriptor plan_of(const Descriptor& configuration, const Target& target) {
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
  if (target.handle != nullptr) plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target.handle);
  if (target.properties != nullptr) {
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.properties);
  }
  plan.finalize();
  return plan;
}

}  // namespace

Plan make_plan(Graph graph, const Target& target, SumOrder order) {
  std::string refused = "cuDNN advises no engine";
  for (Descriptor& configuration : advice(graph, target)) {
    try {
      Descriptor engine = engine_of(configuration);
      if (order == SumOrder::fixed && !repeatable(engine)) {
        refused = "engines that cuDNN advises may give other bits each time";
        continue;
      }
      Descriptor plan = plan_of(configuration, target);
      const std::int64_t bytes = plan.number(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
      return {std::move(graph), std::move(engine), std::move(configuration), std::move(plan),
              static_cast<std::size_t>(bytes)};
    } catch (const Refusal& refusal) {
      refused = refusal.what();
    }
  }
  throw Refusal(refused);
}

void execute(const Plan& plan, cudnnHandle_t handle, std::span<const Binding> bindings,
             void* workspace) {
  std::vector<std::int64_t> ids;
  std::vector<void*> addresses;
  for (const Binding& binding : bindings) {
    ids.push_back(binding.id);
    addresses.push_back(binding.address);
  }
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const std::int64_t>(ids));
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, std::span<void* const>(addresses));
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, std::span<void* const>(&workspace, 1));
  pack.finalize();
  const cudnnStatus_t status = library()->execute(handle, plan.plan.get(), pack.get());
  if (status != CUDNN_STATUS_SUCCESS) throw Refusal(library()->words(status));
}

}  // namespace train::cuda::cudnn

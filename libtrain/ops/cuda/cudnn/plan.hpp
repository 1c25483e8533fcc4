#pragma once

#include "libtrain/ops/cuda/cudnn/graph.hpp"
#include "libtrain/ops/sum_order.hpp"

namespace train::cuda::cudnn {

/// A kernel, or several, that cuDNN has chosen for a graph.
struct Plan {
  Graph graph;
  Descriptor engine, configuration, plan;
  std::size_t workspace_bytes;
};

/// The first that cuDNN advises, of a fixed order only of those that give the same bits for the
/// same call. Throws Refusal where there is none.
Plan make_plan(Graph graph, const Target& target, SumOrder order = SumOrder::fixed);

/// What a tensor of a graph is in a call: the address of its first element, or of a host's number.
struct Binding {
  std::int64_t id;
  void* address;
};

/// On the handle's stream. Throws Refusal where cuDNN does not take the call.
void execute(const Plan& plan, cudnnHandle_t handle, std::span<const Binding> bindings,
             void* workspace);

}  // namespace train::cuda::cudnn

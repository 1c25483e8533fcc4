#include "libtrain/parallel/plan.hpp"

#include <fmt/format.h>
#include <fnmatch.h>

#include "libtrain/parallel/context_parallel.hpp"
#include "libtrain/parallel/model_split.hpp"
#include "libtrain/parallel/tensor_parallel.hpp"

namespace train {
namespace {

bool matches(const PlanRule& rule, const Layer& layer) {
  return fnmatch(rule.pattern.c_str(), layer.name.c_str(), 0) == 0;
}

void check_patterns(const ParallelPlan& plan, const std::deque<Layer>& layers) {
  for (const PlanRule& rule : plan.rules) {
    bool used = false;
    for (const Layer& layer : layers) used = used || matches(rule, layer);
    if (!used) {
      throw Error(
          fmt::format("parallel plan: the pattern \"{}\" matches no layer of the model; "
                      "its layers are {} … {}",
                      rule.pattern, layers.front().name, layers.back().name));
    }
  }
}

const PlanRule& rule_of(const ParallelPlan& plan, const Layer& layer) {
  const PlanRule* found = nullptr;
  for (const PlanRule& rule : plan.rules) {
    if (!matches(rule, layer)) continue;
    if (found != nullptr) {
      throw Error(
          fmt::format("parallel plan: layer {} matches both \"{}\" and \"{}\"; a layer "
                      "takes one",
                      layer.name, found->pattern, rule.pattern));
    }
    found = &rule;
  }
  if (found == nullptr) {
    throw Error(
        fmt::format("parallel plan: no pattern matches layer {}; name it, as replicated if "
                    "every rank is to hold it",
                    layer.name));
  }
  return *found;
}

Split split_of(LayerKind kind) {
  switch (kind) {
    case LayerKind::embedding:
    case LayerKind::head:
      return Split::vocabulary;
    case LayerKind::reader:
      return Split::column;
    case LayerKind::writer:
      return Split::row;
    case LayerKind::norm:
      return Split::replicated;
  }
  unreachable("unknown LayerKind");
}

void check_split(const Layer& layer, const PlanRule& rule) {
  const Split possible = split_of(layer.kind);
  if (rule.split == Split::replicated || rule.split == possible) return;
  throw Error(fmt::format(
      "parallel plan: \"{}\" makes layer {} {}; it can be {}replicated", rule.pattern, layer.name,
      name_of(rule.split),
      possible == Split::replicated ? std::string() : fmt::format("{} or ", name_of(possible))));
}

// A writer takes its features as the reader before it has left them; a matrix that two layers share
// lies one way.
void check_together(const std::deque<Layer>& layers) {
  const Layer* reader = nullptr;
  for (const Layer& layer : layers) {
    if (layer.kind == LayerKind::reader) reader = &layer;
    const Layer* other = nullptr;
    if (layer.kind == LayerKind::writer) other = reader;
    if (layer.kind == LayerKind::head && layers.front().weight == layer.weight) {
      other = &layers.front();
    }
    if (other == nullptr) continue;
    if ((other->split == Split::replicated) != (layer.split == Split::replicated)) {
      throw Error(fmt::format("parallel plan: layer {} is {} but {} is {}; split both or none",
                              other->name, name_of(other->split), layer.name,
                              name_of(layer.split)));
    }
  }
}

// A rank has the same heads in all blocks.
void check_heads(const std::deque<Layer>& layers) {
  const Layer* first = nullptr;
  for (const Layer& layer : layers) {
    if (layer.features != Features::heads) continue;
    if (first == nullptr) first = &layer;
    if ((layer.split == Split::replicated) == (first->split == Split::replicated)) continue;
    throw Error(
        fmt::format("parallel plan: layer {} is {} but {} is {}; split the heads of all blocks, or "
                    "of none",
                    first->name, name_of(first->split), layer.name, name_of(layer.split)));
  }
}

// Every rank of the tensor group would add up the gradients of its copy by itself.
void check_order(Gpt& model, const Grid& grid) {
  const bool differs = grid.device().gpu() && grid.sum_order() == SumOrder::any;
  if (!differs || grid.tensor().size() == 1) return;
  for (const Layer& layer : model.layers()) {
    if (layer.features != Features::heads || layer.split != Split::replicated) continue;
    throw Error(
        fmt::format("parallel plan: layer {} is replicated over {} ranks, and with --sum-order any "
                    "their copies would drift apart: split attention's layers, or use --sum-order "
                    "fixed",
                    layer.name, grid.tensor().size()));
  }
}

}  // namespace

const char* name_of(Split split) {
  switch (split) {
    case Split::replicated:
      return "replicated";
    case Split::column:
      return "column";
    case Split::row:
      return "row";
    case Split::vocabulary:
      return "vocabulary";
  }
  unreachable("unknown Split");
}

ParallelPlan megatron_plan(bool sequence_parallel) {
  return {{{"token_embedding", Split::vocabulary},
           {"blocks.*.attention_norm", Split::replicated},
           {"blocks.*.attention.qkv", Split::column},
           {"blocks.*.attention.out", Split::row},
           {"blocks.*.mlp_norm", Split::replicated},
           {"blocks.*.mlp.*up", Split::column},
           {"blocks.*.mlp.down", Split::row},
           {"final_norm", Split::replicated},
           {"head", Split::vocabulary}},
          sequence_parallel};
}

void lay_out(Gpt& model, const ParallelPlan& plan, int ranks, int rank) {
  check_patterns(plan, model.layers());
  for (Layer& layer : model.layers()) {
    const PlanRule& rule = rule_of(plan, layer);
    check_split(layer, rule);
    layer.split = rule.split;
  }
  check_together(model.layers());
  check_heads(model.layers());
  if (ranks == 1) return;
  const ModelSplit split(model.config(), ranks);
  for (const Layer& layer : model.layers()) split.place(layer, rank);
}

void parallelize(Gpt& model, const Grid& grid, const ParallelPlan& plan) {
  Communicator& ranks = grid.tensor();
  lay_out(model, plan, ranks.size(), ranks.rank());
  check_order(model, grid);
  auto execution = std::make_shared<const Execution>();
  if (ranks.size() > 1) {
    const ModelSplit split(model.config(), ranks.size());
    execution = std::make_shared<TensorParallel>(model, split, ranks, plan.sequence_parallel);
  }
  if (grid.context().size() > 1) {
    execution = std::make_shared<ContextParallel>(model.config(), execution, grid.context());
  }
  model.set_execution(execution);
}

}  // namespace train

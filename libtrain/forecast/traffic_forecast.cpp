#include "libtrain/forecast/traffic_forecast.hpp"

#include <algorithm>

namespace train {
namespace {

// How often stage 3 gathers a parameter in a pass: for each unit forward, and backward where the
// unit reads values then. A block's parameter 2, a tied embedding 2 (embedding and head, forward),
// positions beside it in its bucket the same, an embedding or a head of its own 1.
int gathers_per_pass(const Gpt& model, const Parameter& parameter) {
  const auto uses = [](const ModelUnit& unit, const Parameter& one) {
    return std::ranges::find(unit.parameters, &one) != unit.parameters.end();
  };
  const auto units = model.units();
  // The embedding's unit travels as one.
  const bool embedded = uses(units.front(), parameter);
  const Parameter& leader = embedded ? *units.front().parameters.front() : parameter;
  int gathers = 0;
  for (const ModelUnit& unit : units) {
    if (uses(unit, leader)) gathers += unit.backward_reads_values ? 2 : 1;
  }
  return gathers;
}

}  // namespace

StepTraffic data_traffic(const Gpt& model, const TrainingShape& shape) {
  StepTraffic traffic;
  const OptimizerOptions& options = shape.optimizer;
  const int ranks = options.zero == Zero::stage0 ? shape.data_ranks() : shape.shard_ranks();
  const double share = (ranks - 1.0) / ranks;
  for (const auto& parameter : model.parameters()) {
    const double count = static_cast<double>(parameter->local_shape().elements()) * share;
    const double gradient = count * static_cast<double>(shape.gradient());
    const double value = count * static_cast<double>(shape.element());
    if (options.zero == Zero::stage0) {
      traffic.all_reduce += 2 * gradient;
      continue;
    }
    const bool gathered =
        options.zero == Zero::stage3 && parameter->shape().elements() > options.resident_elements;
    traffic.reduce_scatter += (options.zero >= Zero::stage2 ? shape.passes : 1) * gradient;
    traffic.all_gather +=
        (gathered ? shape.passes * gathers_per_pass(model, *parameter) : 1) * value;
  }
  return traffic;
}

StepTraffic replica_traffic(const Gpt& model, const TrainingShape& shape) {
  double elements = 0.0;
  for (const auto& parameter : model.parameters()) {
    elements += static_cast<double>(parameter->local_shape().elements());
  }
  const double share = (shape.replicas() - 1.0) / shape.replicas() / shape.shard_ranks();
  StepTraffic traffic;
  traffic.all_reduce = 2 * elements * share * static_cast<double>(shape.gradient());
  return traffic;
}

StepTraffic tensor_traffic(const TrainingShape& shape) {
  const GptConfig& config = shape.config;
  const double share = (shape.tensor - 1.0) / shape.tensor;
  const double passes = shape.passes;
  const double rows = static_cast<double>(shape.rows()) / shape.context;
  const auto layers = static_cast<double>(config.layers);
  const double exchange =
      rows * static_cast<double>(config.width) * share * static_cast<double>(shape.element());
  double again = 0.0;
  if (shape.recompute == Recompute::attention) again = 1.0;
  if (shape.recompute == Recompute::block) again = 2.0;

  StepTraffic traffic;
  traffic.small = passes * 3 * rows * 2 * share * sizeof(float);
  if (!shape.sequence_parallel) {
    traffic.all_reduce = traffic.small + passes * (layers * (4 + again) + 2) * 2 * exchange;
    return traffic;
  }
  traffic.reduce_scatter = passes * (layers * (4 + again) + 2) * exchange;
  traffic.all_gather = passes * (layers * (6 + again) + 2) * exchange;
  const double norms = (2 * layers + 1) * static_cast<double>(config.width) *
                       (config.bias && config.norm == Norm::layer_norm ? 2 : 1);
  const double sums = shape.optimizer.zero >= Zero::stage2 ? passes : 1;
  traffic.small += sums * norms * 2 * share * static_cast<double>(shape.gradient());
  traffic.all_reduce = traffic.small;
  return traffic;
}

// There a rank sends other ranks' columns of its rows, and back its columns of other ranks' rows.
StepTraffic context_traffic(const ModelOutline& outline, const TrainingShape& shape) {
  const HeadRange own = outline.attention_heads();
  const HeadRange all = outline.exchanged_heads();
  const std::int64_t rows = outline.context_rows(shape.rows());
  const std::int64_t other_rows = shape.rows() - rows;
  const auto width = [](const HeadRange& heads) { return heads.heads + 2 * heads.kv_heads; };
  const std::int64_t forward = rows * (width(all) - width(own)) + other_rows * own.heads;
  const std::int64_t backward = rows * (all.heads - own.heads) + other_rows * width(own);
  const std::int64_t forwards = shape.recompute == Recompute::none ? 1 : 2;
  const std::int64_t elements =
      (forwards * forward + backward) * shape.config.head_width * shape.config.layers;
  StepTraffic traffic;
  traffic.all_to_all = static_cast<double>(elements * shape.element()) * shape.passes;
  return traffic;
}

}  // namespace train

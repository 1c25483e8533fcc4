#pragma once

#include <algorithm>

#include "collectives/traffic.hpp"
#include "libtrain/model/gpt.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"

/// Bytes that a rank sends in one step, by the formulas of the literature: what tests and
/// benchmarks hold beside the communicators' counters.
namespace volumes {

struct Volume {
  double all_reduce = 0.0;
  double reduce_scatter = 0.0;
  double all_gather = 0.0;
  /// Of `all_reduce`: messages of a few numbers, such as the loss's. A backend may send those whole
  /// to every rank, which saves a round and costs n / 2 times the bytes.
  double small = 0.0;

  double total() const { return all_reduce + reduce_scatter + all_gather; }
};

/// What `after` counts beyond `before`.
inline Volume sent_between(const train::Traffic& before, const train::Traffic& after) {
  const auto bytes = [&](train::TrafficOf train::Traffic::*kind) {
    return static_cast<double>((after.*kind).bytes_sent - (before.*kind).bytes_sent);
  };
  return {bytes(&train::Traffic::all_reduce), bytes(&train::Traffic::reduce_scatter),
          bytes(&train::Traffic::all_gather), 0.0};
}

/// The batch of one step on one data rank: `passes` passes over `rows` tokens each.
struct Step {
  std::int64_t rows = 0;
  int passes = 1;
};

/// How often stage 3 gathers a parameter in a pass: for each unit forward, and backward where the
/// unit reads values then. A block's parameter 2, a tied embedding 2 (embedding and head, forward),
/// positions beside it in its bucket the same, an embedding or a head of its own 1.
inline int gathers_per_pass(const train::Gpt& model, const train::Parameter& parameter) {
  const auto uses = [](const train::ModelUnit& unit, const train::Parameter& one) {
    return std::ranges::find(unit.parameters, &one) != unit.parameters.end();
  };
  const auto units = model.units();
  // The embedding's unit travels as one.
  const bool embedded = uses(units.front(), parameter);
  const train::Parameter& leader = embedded ? *units.front().parameters.front() : parameter;
  int gathers = 0;
  for (const train::ModelUnit& unit : units) {
    if (uses(unit, leader)) gathers += unit.backward_reads_values ? 2 : 1;
  }
  return gathers;
}

/// Data parallelism and ZeRO over n ranks that hold Ψ parameters each (Rajbhandari et al., SC 2020,
/// section 7), with gradients of g and values of p bytes and k passes:
///   stage 0: 2 Ψ g (n-1)/n    an all-reduce
///   stage 1: Ψ (g + p) (n-1)/n    a reduce-scatter of gradients, an all-gather of values
///   stage 2: Ψ (k g + p) (n-1)/n    gradients leave in every pass
///   stage 3: Ψ k (g + 2 p) (n-1)/n    values are gathered forward and backward
/// Stage 3 counts parameters that stay on all ranks as stage 2 does, and what the backward pass
/// does not read once: see gathers_per_pass. A bucket's padding is left out.
inline Volume data_volume(const train::Gpt& model, int ranks,
                          const train::OptimizerOptions& options, int passes) {
  Volume volume;
  const double share = (ranks - 1.0) / ranks;
  for (const auto& parameter : model.parameters()) {
    const double count = static_cast<double>(parameter->local_shape().elements()) * share;
    const double gradient = count * static_cast<double>(train::size_of(options.gradient_type));
    const double value = count * static_cast<double>(train::size_of(parameter->type()));
    if (options.zero == train::Zero::stage0) {
      volume.all_reduce += 2 * gradient;
      continue;
    }
    const bool gathered = options.zero == train::Zero::stage3 &&
                          parameter->shape().elements() > options.resident_elements;
    volume.reduce_scatter += (options.zero >= train::Zero::stage2 ? passes : 1) * gradient;
    volume.all_gather += (gathered ? passes * gathers_per_pass(model, *parameter) : 1) * value;
  }
  return volume;
}

/// Tensor parallelism over t ranks, for L layers, M rows of width C in e bytes (Shoeybi et al.,
/// 2019; Korthikanti et al., MLSys 2023), each pass:
///   whole rows: (4 L + 2) all-reduces, 2 M C e (t-1)/t each: 4 per layer, the embedding's output
///     and the gradient of the head's input;
///   split rows: (4 L + 2) reduce-scatters and (6 L + 2) all-gathers, M C e (t-1)/t each; 2 of a
///     layer's gathers fetch its readers' inputs again in the backward pass;
///   the loss: 3 numbers per row, all-reduced in f32.
/// A forward pass that is computed again makes its exchanges again: 1 pair per layer (attention) or
/// 2 (block). Split rows add the norms' gradients: an all-reduce per reduction of gradients.
inline Volume tensor_volume(const train::GptConfig& config, const train::Gpt::Options& model,
                            const train::OptimizerOptions& optimizer, int ranks, bool split_rows,
                            const Step& step) {
  const double share = (ranks - 1.0) / ranks;
  const double passes = step.passes;
  const double rows = static_cast<double>(step.rows);
  const double layers = static_cast<double>(config.layers);
  const double exchange = rows * static_cast<double>(config.width) * share *
                          static_cast<double>(train::size_of(model.type));
  double again = 0.0;
  if (model.recompute == train::Recompute::attention) again = 1.0;
  if (model.recompute == train::Recompute::block) again = 2.0;

  Volume volume;
  volume.small = passes * 3 * rows * 2 * share * sizeof(float);
  if (!split_rows) {
    volume.all_reduce = volume.small + passes * (layers * (4 + again) + 2) * 2 * exchange;
    return volume;
  }
  volume.reduce_scatter = passes * (layers * (4 + again) + 2) * exchange;
  volume.all_gather = passes * (layers * (6 + again) + 2) * exchange;
  const double norms = (2 * layers + 1) * static_cast<double>(config.width) *
                       (config.bias && config.norm == train::Norm::layer_norm ? 2 : 1);
  const double sums = optimizer.zero >= train::Zero::stage2 ? passes : 1;
  volume.small +=
      sums * norms * 2 * share * static_cast<double>(train::size_of(optimizer.gradient_type));
  volume.all_reduce = volume.small;
  return volume;
}

}  // namespace volumes

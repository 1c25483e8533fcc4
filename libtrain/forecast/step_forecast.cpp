#include "libtrain/forecast/step_forecast.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "libtrain/forecast/bucket_schedule.hpp"
#include "libtrain/forecast/pass_times.hpp"
#include "libtrain/forecast/traffic_forecast.hpp"
#include "libtrain/metrics/flops.hpp"

namespace train {
namespace {

// Bytes that AdamW reads and writes for an element: moments and the full-precision value, twice,
// the gradient, and a bf16 value beside its copy.
double adamw_bytes(const TrainingShape& shape) {
  return 24.0 + static_cast<double>(shape.gradient()) + (shape.type == DataType::bf16 ? 2.0 : 0.0);
}

double optimizer_bytes(const TrainingShape& shape) {
  return adamw_bytes(shape) + static_cast<double>(shape.gradient());  // the norm reads it first
}

StepTimes times_of(const PassTimes& passes, const std::vector<Bucket>& buckets,
                   const TrainingShape& shape, const DeviceRates& device, const GroupCost& data,
                   const GroupCost& replicas) {
  StepTimes times;
  times.forward = passes.forward();
  times.again = passes.again();
  times.backward = passes.backward();
  const bool is_bf16 = shape.optimizer.gradient_type == DataType::bf16;
  double elements = 0.0;
  for (const Bucket& bucket : buckets) {
    const auto all = static_cast<double>(bucket.elements);
    const double gradients = all * static_cast<double>(shape.gradient());
    times.reduce.push_back(shape.optimizer.zero == Zero::stage0
                               ? data.all_reduce(gradients, is_bf16)
                               : data.reduce_scatter(gradients, is_bf16));
    times.copies.push_back(replicas.all_reduce(gradients / shape.shard_ranks(), is_bf16));
    times.gather.push_back(data.all_gather(all * static_cast<double>(shape.element())));
    const auto own = static_cast<double>(bucket.shard_elements(0));
    times.update.push_back(own * adamw_bytes(shape) / device.memory_bytes);
    elements += own;
  }
  times.norm = elements * static_cast<double>(shape.gradient()) / device.memory_bytes;
  return times;
}

// Where processors compute, exchanges copy and add on the same cores: what goes on beside the
// computation takes its time from it.
void take_from_computing(const ModelOutline& outline, const TrainingShape& shape,
                         const Interconnect& interconnect, StepForecast& step) {
  const auto copying_s = [&](const StepTraffic& sent) {
    return sent.total() / interconnect.node_rate;
  };
  const Gpt& model = outline.model();
  step.data_s = std::max(step.data_s, copying_s(data_traffic(model, shape)) +
                                          copying_s(replica_traffic(model, shape)));
  step.tensor_s = std::max(step.tensor_s, copying_s(tensor_traffic(shape)));
  if (shape.context > 1) {
    step.context_s = std::max(step.context_s, copying_s(context_traffic(outline, shape)));
  }
}

}  // namespace

std::string StepForecast::limit() const {
  const std::array<std::pair<double, const char*>, 5> parts = {
      {{passes_s, "computing"},
       {tensor_s, tensor_crosses_nodes ? "tensor group, network" : "tensor group"},
       {context_s, context_crosses_nodes ? "context group, network" : "context group"},
       {data_s, data_crosses_nodes ? "data group, network" : "data group"},
       {optimizer_s, "optimizer"}}};
  return std::ranges::max_element(parts, {}, [](const auto& part) { return part.first; })->second;
}

double flops_measured(const TrainingShape& shape, double tokens_per_s, double memory_bytes) {
  const GptConfig& config = shape.config;
  const double tokens = static_cast<double>(shape.rows()) * shape.passes;
  const double step_s = tokens / tokens_per_s;
  const double optimizer_s =
      static_cast<double>(config.parameter_count()) * optimizer_bytes(shape) / memory_bytes;
  // Of a step that the optimizer alone would fill, nothing can be told.
  const double passes_s = std::max(step_s - optimizer_s, 0.5 * step_s);
  return tokens / passes_s *
         flops_per_token({config.multiplied_parameter_count(), config.layers,
                          config.heads * config.head_width, config.context});
}

StepForecast forecast_step(const ModelOutline& outline, const std::vector<Bucket>& buckets,
                           const TrainingShape& shape, const DeviceRates& device,
                           const Interconnect& interconnect) {
  const int ranks = shape.data_ranks();
  const GroupCost tensor = GroupCost::tensor(interconnect, ranks, shape.tensor);
  const GroupCost context = GroupCost::neighbours(interconnect, shape.context, ranks, shape.tensor);
  const bool copies = shape.replicas() > 1;
  const GroupCost data = copies
                             ? GroupCost::neighbours(interconnect, shape.shard, ranks, shape.tensor)
                             : GroupCost::data(interconnect, ranks, shape.tensor);
  const GroupCost replicas =
      GroupCost::replicas(interconnect, copies ? shape.shard : ranks, ranks, shape.tensor);
  const PassTimes passes(outline, shape, device, tensor, context);
  const StepTimes times = times_of(passes, buckets, shape, device, data, replicas);
  const BucketSchedule schedule(outline, buckets, shape, times);

  StepForecast step;
  step.passes_s = shape.passes * passes.computed_s();
  step.tensor_s = shape.passes * passes.waited_s();
  step.context_s = shape.passes * passes.context_s();
  step.data_s = schedule.seconds_waited();
  step.optimizer_s =
      schedule.seconds() - step.passes_s - step.tensor_s - step.context_s - step.data_s;
  if (!shape.gpu) take_from_computing(outline, shape, interconnect, step);
  step.tensor_crosses_nodes = tensor.crosses_nodes();
  step.context_crosses_nodes = context.crosses_nodes();
  step.data_crosses_nodes = data.crosses_nodes() || replicas.crosses_nodes();
  return step;
}

}  // namespace train

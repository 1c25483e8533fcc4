#include "libtrain/forecast/memory_forecast.hpp"

#include <algorithm>

#include "libtrain/forecast/activation_forecast.hpp"
#include "libtrain/forecast/bucket_schedule.hpp"
#include "libtrain/ops/fused_backward_bytes.hpp"

namespace train {
namespace {

// Sums over buckets are what the optimizer allocates, with the lines to which it rounds.
void count_state(const std::vector<Bucket>& buckets, const TrainingShape& shape,
                 MemoryForecast& memory) {
  const OptimizerOptions& options = shape.optimizer;
  const std::int64_t state = (options.moments ? 8 : 0) + (shape.type == DataType::bf16 ? 4 : 0);
  for (const Bucket& bucket : buckets) {
    const std::int64_t shard = bucket.shard_elements(0);
    memory.parameters += shape.element() * (bucket.gathered ? shard : bucket.elements);
    memory.gradients += shape.gradient() * (options.zero >= Zero::stage2 ? shard : bucket.elements);
    memory.optimizer_state += state * shard;
  }
}

// Sizes are rounded up by at most an eighth, on the average a sixteenth. A processor's memory keeps
// blocks of one size that another could have used, beside the workspace of the ops; a GPU's gives
// them back when it is full. A GPU has the context and the kernels of cuBLASLt, cuDNN and NCCL, as
// they are loaded; workspace of products (64 MiB) and of attention's backward pass, which keeps the
// scores' gradients of at most 512 MiB (sums in any order are less, but of contexts below 6 heads'
// widths); a copy of what bf16 sums exchange.
std::int64_t bytes_beside(const ModelOutline& outline, const TrainingShape& shape,
                          const MemoryForecast& memory) {
  constexpr std::int64_t mib = 1 << 20;
  if (!shape.gpu) return memory.total() / 8 + 32 * mib;
  const GptConfig& config = shape.config;
  const HeadRange heads = outline.attention_heads();
  const std::int64_t scores = heads.heads * (shape.rows() / config.context) *
                              fused_backward_bytes({.context = config.context,
                                                    .heads = heads.heads,
                                                    .kv_heads = heads.kv_heads,
                                                    .head_width = config.head_width});
  const std::int64_t sums = shape.tensor > 1 && shape.type == DataType::bf16
                                ? 2 * outline.context_rows(shape.rows()) * config.width
                                : 0;
  return (1024 + 64) * mib + std::min(scores, 512 * mib) + sums + memory.total() / 16;
}

}  // namespace

MemoryForecast forecast_memory(const ModelOutline& outline, const TrainingShape& shape) {
  MemoryForecast memory;
  const std::vector<Bucket> buckets = outline.buckets(shape);
  count_state(buckets, shape, memory);
  memory.activations = ActivationForecast(outline, shape).peak;
  memory.communication = BucketSchedule(outline, buckets, shape).peak_bytes();
  memory.lane = shape.gpu ? 0 : shape.lane_bytes;
  memory.beside = bytes_beside(outline, shape, memory);
  return memory;
}

MemoryForecast forecast_memory(const TrainingShape& shape) {
  MemoryForecast most;
  for (const ModelOutline& outline : outlines_of(shape)) {
    const MemoryForecast memory = forecast_memory(outline, shape);
    if (memory.total() > most.total()) most = memory;
  }
  return most;
}

}  // namespace train

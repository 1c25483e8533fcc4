#include "libtrain/forecast/model_outline.hpp"

#include <array>
#include <set>

#include "libtrain/parallel/plan.hpp"

namespace train {

ModelOutline::ModelOutline(const GptConfig& config, const OutlinePlace& place)
    : device_(make_cpu_device(1)),
      model_(std::make_unique<Gpt>(config, *device_)),
      split_(config, place.tensor_ranks),
      place_(place) {
  lay_out(*model_, megatron_plan(), place.tensor_ranks, place.tensor_rank);
}

HeadRange ModelOutline::attention_heads() const {
  return shared_out(heads(), place_.context_ranks)[static_cast<std::size_t>(place_.context_rank)];
}

HeadRange ModelOutline::exchanged_heads() const {
  HeadRange all;
  for (const HeadRange& part : shared_out(heads(), place_.context_ranks)) {
    all.heads += part.heads;
    all.kv_heads += part.kv_heads;
  }
  return all;
}

std::int64_t ModelOutline::context_rows(std::int64_t rows) const {
  return even_ranges(rows, place_.context_ranks)[static_cast<std::size_t>(place_.context_rank)]
      .count;
}

std::int64_t ModelOutline::own_rows(std::int64_t rows, bool splits_rows) const {
  const std::int64_t shared = context_rows(rows);
  if (!splits_rows) return shared;
  return even_ranges(shared, place_.tensor_ranks)[static_cast<std::size_t>(place_.tensor_rank)]
      .count;
}

std::int64_t ModelOutline::elements() const {
  std::int64_t all = 0;
  for (const auto& parameter : model_->parameters()) all += parameter->local_shape().elements();
  return all;
}

std::int64_t ModelOutline::multiplied_elements() const {
  std::int64_t looked_up = 0;
  const Layer& embedding = model_->layers().front();
  if (embedding.bias != nullptr) looked_up += embedding.bias->local_shape().elements();
  if (!config().tied_head) looked_up += embedding.weight->local_shape().elements();
  return elements() - looked_up;
}

std::vector<Bucket> ModelOutline::buckets(const TrainingShape& shape) const {
  return make_buckets(parameter_groups(*model_), place_.tensor_rank,
                      bucket_options(shape.optimizer, shape.data_ranks(), shape.shard_ranks()));
}

std::vector<ModelOutline> outlines_of(const TrainingShape& shape) {
  const ModelSplit split(shape.config, shape.tensor);
  std::set<std::array<std::int64_t, 4>> seen;
  std::vector<ModelOutline> outlines;
  for (int rank = 0; rank < shape.tensor; ++rank) {
    const auto parts = shared_out(split.heads(rank), shape.context);
    for (int context_rank = 0; context_rank < shape.context; ++context_rank) {
      const HeadRange& heads = parts[static_cast<std::size_t>(context_rank)];
      const bool is_new = seen.insert({heads.heads, heads.kv_heads, split.hidden(rank).count,
                                       split.tokens(rank).count})
                              .second;
      if (!is_new) continue;
      outlines.emplace_back(shape.config,
                            OutlinePlace{shape.tensor, rank, shape.context, context_rank});
    }
  }
  return outlines;
}

}  // namespace train

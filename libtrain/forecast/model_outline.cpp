#include "libtrain/forecast/model_outline.hpp"

#include <array>
#include <set>

#include "libtrain/parallel/plan.hpp"

namespace train {

ModelOutline::ModelOutline(const GptConfig& config, int tensor_ranks, int tensor_rank)
    : device_(make_cpu_device(1)),
      model_(std::make_unique<Gpt>(config, *device_)),
      split_(config, tensor_ranks),
      rank_(tensor_rank) {
  lay_out(*model_, megatron_plan(), tensor_ranks, tensor_rank);
}

std::int64_t ModelOutline::own_rows(std::int64_t rows, bool splits_rows) const {
  if (!splits_rows) return rows;
  return even_ranges(rows, tensor_ranks())[static_cast<std::size_t>(rank_)].count;
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

std::vector<Bucket> ModelOutline::buckets(const OptimizerOptions& options, int data_ranks) const {
  return make_buckets(parameter_groups(*model_), rank_, bucket_options(options, data_ranks));
}

std::vector<ModelOutline> outlines_of(const GptConfig& config, int tensor_ranks) {
  const ModelSplit split(config, tensor_ranks);
  std::set<std::array<std::int64_t, 4>> seen;
  std::vector<ModelOutline> outlines;
  for (int rank = 0; rank < tensor_ranks; ++rank) {
    const HeadRange& heads = split.heads(rank);
    const bool is_new = seen.insert({heads.heads, heads.kv_heads, split.hidden(rank).count,
                                     split.tokens(rank).count})
                            .second;
    if (is_new) outlines.emplace_back(config, tensor_ranks, rank);
  }
  return outlines;
}

}  // namespace train

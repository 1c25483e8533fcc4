#include "libtrain/parallel/model_split.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

using Range = ModelSplit::Range;

void require_enough(std::int64_t count, const char* what, int ranks) {
  if (count >= ranks) return;
  throw Error(fmt::format("--tensor-parallel {}: the model has only {} {} to share; use at most {}",
                          ranks, count, what, count));
}

// Rows [begin, begin + count) of a matrix, or elements of a vector.
Block rows_of(const Shape& shape, const Range& range) {
  Block block{{}, shape.rank() == 1 ? Shape{range.count} : Shape{range.count, shape[1]}};
  block.offset[0] = range.begin;
  return block;
}

Block columns_of(const Shape& shape, const Range& range) {
  Block block{{}, {shape[0], range.count}};
  block.offset[1] = range.begin;
  return block;
}

}  // namespace

std::vector<Range> even_ranges(std::int64_t count, int parts) {
  std::vector<Range> ranges;
  std::int64_t begin = 0;
  for (int i = 0; i < parts; ++i) {
    const std::int64_t share = count / parts + (i < count % parts ? 1 : 0);
    ranges.push_back({begin, share});
    begin += share;
  }
  return ranges;
}

std::vector<std::size_t> even_counts(std::int64_t count, int parts, std::int64_t width) {
  std::vector<std::size_t> counts;
  for (const Range& range : even_ranges(count, parts)) {
    counts.push_back(static_cast<std::size_t>(range.count * width));
  }
  return counts;
}

std::vector<HeadRange> split_heads(std::int64_t heads, std::int64_t kv_heads, int ranks) {
  const std::int64_t group = heads / kv_heads;
  std::vector<HeadRange> parts;
  if (kv_heads >= ranks) {
    for (const Range& kv : even_ranges(kv_heads, ranks)) {
      parts.push_back({kv.begin * group, kv.count * group, kv.begin, kv.count});
    }
    return parts;
  }
  const auto ranks_of = even_ranges(ranks, static_cast<int>(kv_heads));
  for (std::int64_t kv = 0; kv < kv_heads; ++kv) {
    const auto sharers = static_cast<int>(ranks_of[static_cast<std::size_t>(kv)].count);
    for (const Range& part : even_ranges(group, sharers)) {
      parts.push_back({kv * group + part.begin, part.count, kv, part.count > 0 ? 1 : 0});
    }
  }
  return parts;
}

std::vector<HeadRange> shared_out(const HeadRange& heads, int ranks) {
  if (heads.kv_heads == 0) return std::vector<HeadRange>(static_cast<std::size_t>(ranks));
  return split_heads(heads.heads, heads.kv_heads, ranks);
}

ModelSplit::ModelSplit(const GptConfig& config, int ranks)
    : config_(config), heads_(split_heads(config.heads, config.kv_heads, ranks)) {
  require_enough(config.vocabulary, "tokens in its vocabulary", ranks);
  require_enough(config.hidden, "hidden features", ranks);
  hidden_ = even_ranges(config.hidden, ranks);
  tokens_ = even_ranges(config.vocabulary, ranks);
}

bool ModelSplit::shares_kv_heads() const {
  for (std::size_t i = 1; i < heads_.size(); ++i) {
    if (heads_[i].kv_heads > 0 && heads_[i].first_kv_head == heads_[i - 1].first_kv_head) {
      return true;
    }
  }
  return false;
}

void ModelSplit::place(const Layer& layer, int rank) const {
  const auto set = [&](Parameter* parameter, const Layout& layout) {
    if (parameter != nullptr && parameter->layout().ranks() == 1) {
      parameter->set_layout(layout, rank);
    }
  };
  const auto replicate = [&](Parameter* parameter) {
    if (parameter != nullptr) set(parameter, Layout::replicated(parameter->shape(), ranks()));
  };
  switch (layer.split) {
    case Split::column:
      set(layer.weight, reader_layout(layer.weight->shape(), layer.features));
      if (layer.bias != nullptr)
        set(layer.bias, reader_layout(layer.bias->shape(), layer.features));
      return;
    case Split::row:
      set(layer.weight, writer_layout(layer.weight->shape(), layer.features));
      return replicate(layer.bias);
    case Split::vocabulary: {
      std::vector<std::vector<Block>> blocks;
      for (const Range& part : tokens_) blocks.push_back({rows_of(layer.weight->shape(), part)});
      set(layer.weight, Layout(layer.weight->shape(), std::move(blocks)));
      return replicate(layer.bias);
    }
    case Split::replicated:
      replicate(layer.weight);
      return replicate(layer.bias);
  }
}

// A rank's rows of every section: query, key and value heads, or gate and up.
Layout ModelSplit::reader_layout(const Shape& shape, Features features) const {
  const std::int64_t width = config_.head_width;
  std::vector<std::vector<Block>> blocks;
  for (int rank = 0; rank < ranks(); ++rank) {
    const HeadRange& part = heads(rank);
    std::vector<Range> sections;
    if (features == Features::heads) {
      const std::int64_t keys = config_.heads;
      const std::int64_t values = keys + config_.kv_heads;
      sections = {{part.first_head, part.heads},
                  {keys + part.first_kv_head, part.kv_heads},
                  {values + part.first_kv_head, part.kv_heads}};
      for (Range& section : sections) section = {section.begin * width, section.count * width};
    } else {
      for (std::int64_t first = 0; first < shape[0]; first += config_.hidden) {
        sections.push_back({first + hidden(rank).begin, hidden(rank).count});
      }
    }
    blocks.emplace_back();
    for (const Range& section : sections) blocks.back().push_back(rows_of(shape, section));
  }
  return {shape, std::move(blocks)};
}

Layout ModelSplit::writer_layout(const Shape& shape, Features features) const {
  std::vector<std::vector<Block>> blocks;
  for (int rank = 0; rank < ranks(); ++rank) {
    const HeadRange& part = heads(rank);
    const Range columns = features == Features::heads ? Range{part.first_head * config_.head_width,
                                                              part.heads * config_.head_width}
                                                      : hidden(rank);
    blocks.push_back({columns_of(shape, columns)});
  }
  return {shape, std::move(blocks)};
}

}  // namespace train

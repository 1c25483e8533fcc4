#pragma once

#include <vector>

#include "libtrain/model/execution.hpp"
#include "libtrain/model/gpt_config.hpp"

namespace train {

/// Which heads, hidden features and tokens each rank of a tensor group computes. Pure arithmetic;
/// the counts need not divide.
class ModelSplit {
 public:
  struct Range {
    std::int64_t begin = 0;
    std::int64_t count = 0;
  };

  /// Throws Error when there are more ranks than tokens or hidden features.
  ModelSplit(const GptConfig& config, int ranks);

  int ranks() const { return static_cast<int>(heads_.size()); }
  const HeadRange& heads(int rank) const { return heads_.at(static_cast<std::size_t>(rank)); }
  const Range& hidden(int rank) const { return hidden_.at(static_cast<std::size_t>(rank)); }
  const Range& tokens(int rank) const { return tokens_.at(static_cast<std::size_t>(rank)); }
  /// True when ranks hold copies of key/value heads: there are fewer of them than ranks.
  bool shares_kv_heads() const;

  /// Gives the layer's parameters their layouts.
  void place(const Layer& layer, int rank) const;

 private:
  Layout reader_layout(const Shape& shape, Features features) const;
  Layout writer_layout(const Shape& shape, Features features) const;

  GptConfig config_;
  std::vector<HeadRange> heads_;
  std::vector<Range> hidden_;
  std::vector<Range> tokens_;
};

/// `count` things over `parts`, one after another; the first parts have one more where they do not
/// divide.
std::vector<ModelSplit::Range> even_ranges(std::int64_t count, int parts);

/// Elements in each of even_ranges(), of things of `width` elements.
std::vector<std::size_t> even_counts(std::int64_t count, int parts, std::int64_t width);

/// Query heads over ranks, with the key/value heads that they read. With as many key/value heads as
/// ranks or more, whole groups are dealt out. With fewer, ranks are dealt to key/value heads, each
/// of which its ranks all hold, and share the group's query heads; a rank may be left without any.
std::vector<HeadRange> split_heads(std::int64_t heads, std::int64_t kv_heads, int ranks);

/// The same for the heads of a rank, which may have none; counted from its first.
std::vector<HeadRange> shared_out(const HeadRange& heads, int ranks);

}  // namespace train

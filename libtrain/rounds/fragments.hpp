#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "libtrain/parallel/logical_tensor.hpp"

namespace train {

/// Fragments `first` … `last` - 1 of a model.
struct FragmentRange {
  int first = 0;
  int last = 1;

  bool operator==(const FragmentRange&) const = default;
};

/// Tensors `begin` … `end` - 1 of a list.
struct TensorRange {
  std::size_t begin = 0;
  std::size_t end = 0;

  std::size_t count() const { return end - begin; }
};

/// A model's tensors dealt out to fragments of about equal size, each exchanged at times of its own
/// (Douillard et al.: "Streaming DiLoCo with overlapping communication", 2025). What runs as one
/// stays together: a block, the embedding. The largest go first, each to the fragment that has
/// least, so that blocks of one depth are spread over the fragments (the paper's strided pattern).
/// With one fragment the order is the model's.
class Fragments {
 public:
  /// Names and shapes alone decide. Throws Error where the model has fewer parts than that.
  Fragments(std::span<const LogicalTensor> tensors, int count);

  int count() const { return static_cast<int>(begins_.size()) - 1; }
  /// The model's tensors, fragment by fragment; within one in the model's order.
  std::vector<LogicalTensor> in_order(std::span<const LogicalTensor> tensors) const;
  /// Where fragments lie in that order.
  TensorRange tensors(FragmentRange range) const;

 private:
  std::vector<std::size_t> order_;   // places in the model
  std::vector<std::size_t> begins_;  // of fragments in that order, and its end
};

}  // namespace train

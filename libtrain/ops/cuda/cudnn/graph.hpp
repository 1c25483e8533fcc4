#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "libtrain/ops/cuda/cudnn/descriptor.hpp"

namespace train::cuda::cudnn {

/// For which GPU engines and plans are made: the one of a handle, or one that need not be there,
/// of which only the properties are known.
struct Target {
  cudnnHandle_t handle = nullptr;
  const Descriptor* properties = nullptr;
};

/// Operations that cuDNN shall run as one. Finished graphs hold all that they are made of.
class Graph {
 public:
  /// Batch, heads, rows, columns.
  using Extents = std::array<std::int64_t, 4>;
  /// One of the graph's tensors.
  struct Node {
    std::size_t index;
  };

  /// In the GPU's memory at an address of the call, a multiple of 16 bytes. Ids are below 1000.
  Node tensor(std::int64_t id, cudnnDataType_t type, const Extents& extents,
              const Extents& strides);
  /// One f32 that the call brings from the host.
  Node number(std::int64_t id);
  /// Between two operations, in no memory.
  Node between(const Extents& extents, cudnnDataType_t type = CUDNN_DATA_FLOAT);
  /// The same, of other strides than those of rows without gaps.
  Node between(const Extents& extents, const Extents& strides, cudnnDataType_t type);

  /// c = a · b per batch and head; fewer heads of b serve equally many of a's each.
  void matmul(Node a, Node b, Node c);
  /// y = mode(x), or mode(x, b).
  void pointwise(cudnnPointwiseMode_t mode, Node x, std::optional<Node> b, Node y,
                 cudnnDataType_t computed_in = CUDNN_DATA_FLOAT);
  /// y = where holds: x, else: b.
  void select(Node x, Node b, Node where, Node y);
  /// y = x's own places on an axis, as i32.
  void places(Node x, std::int64_t axis, Node y);
  /// Over those axes on which y's extent is the smaller.
  void reduce(cudnnReduceTensorOp_t operation, Node x, Node y);
  /// The same elements under other extents and strides.
  void reshape(Node x, Node y);

  void finish(const Target& target);
  const Descriptor& descriptor() const { return *finished_; }

 private:
  Node add(std::int64_t id, cudnnDataType_t type, const Extents& extents, const Extents& strides,
           bool in_memory, bool by_value);
  const Descriptor& at(Node node) const { return tensors_[node.index]; }
  void finish_pointwise(Descriptor operation, Descriptor kind, Node x, Node y);
  void keep(Descriptor operation, Descriptor kind);

  std::vector<Descriptor> tensors_, kinds_, operations_;
  std::optional<Descriptor> finished_;
};

}  // namespace train::cuda::cudnn

#include "libtrain/ops/cuda/cudnn/graph.hpp"

#include <utility>

namespace train::cuda::cudnn {
namespace {

constexpr std::int64_t first_id_between = 1000;
constexpr std::int64_t alignment = 16;

Graph::Extents without_gaps(const Graph::Extents& extents) {
  return {extents[1] * extents[2] * extents[3], extents[2] * extents[3], extents[3], 1};
}

// Not finalized yet.
Descriptor pointwise_kind(cudnnPointwiseMode_t mode,
                          cudnnDataType_t computed_in = CUDNN_DATA_FLOAT) {
  Descriptor kind(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  kind.set(CUDNN_ATTR_POINTWISE_MODE, mode);
  kind.set(CUDNN_ATTR_POINTWISE_MATH_PREC, computed_in);
  return kind;
}

}  // namespace

Graph::Node Graph::add(std::int64_t id, cudnnDataType_t type, const Extents& extents,
                       const Extents& strides, bool in_memory, bool by_value) {
  Descriptor tensor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::span<const std::int64_t>(extents));
  tensor.set(CUDNN_ATTR_TENSOR_STRIDES, std::span<const std::int64_t>(strides));
  tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment);
  if (!in_memory) tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
  if (by_value) tensor.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, true);
  tensor.finalize();
  tensors_.push_back(std::move(tensor));
  return {tensors_.size() - 1};
}

Graph::Node Graph::tensor(std::int64_t id, cudnnDataType_t type, const Extents& extents,
                          const Extents& strides) {
  return add(id, type, extents, strides, true, false);
}

Graph::Node Graph::number(std::int64_t id) {
  return add(id, CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1}, true, true);
}

Graph::Node Graph::between(const Extents& extents, cudnnDataType_t type) {
  return between(extents, without_gaps(extents), type);
}

Graph::Node Graph::between(const Extents& extents, const Extents& strides, cudnnDataType_t type) {
  const auto id = first_id_between + static_cast<std::int64_t>(tensors_.size());
  return add(id, type, extents, strides, false, false);
}

void Graph::matmul(Node a, Node b, Node c) {
  Descriptor kind(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  kind.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  kind.finalize();
  Descriptor operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, at(a));
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, at(b));
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, at(c));
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, kind);
  keep(std::move(operation), std::move(kind));
}

void Graph::pointwise(cudnnPointwiseMode_t mode, Node x, std::optional<Node> b, Node y,
                      cudnnDataType_t computed_in) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  if (b) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, at(*b));
  finish_pointwise(std::move(operation), pointwise_kind(mode, computed_in), x, y);
}

void Graph::select(Node x, Node b, Node where, Node y) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, at(b));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, at(where));
  finish_pointwise(std::move(operation), pointwise_kind(CUDNN_POINTWISE_BINARY_SELECT), x, y);
}

void Graph::places(Node x, std::int64_t axis, Node y) {
  Descriptor kind = pointwise_kind(CUDNN_POINTWISE_GEN_INDEX);
  kind.set(CUDNN_ATTR_POINTWISE_AXIS, axis);
  finish_pointwise(Descriptor(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR), std::move(kind), x, y);
}

void Graph::finish_pointwise(Descriptor operation, Descriptor kind, Node x, Node y) {
  kind.finalize();
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, at(x));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, at(y));
  keep(std::move(operation), std::move(kind));
}

void Graph::keep(Descriptor operation, Descriptor kind) {
  operation.finalize();
  kinds_.push_back(std::move(kind));
  operations_.push_back(std::move(operation));
}

void Graph::reduce(cudnnReduceTensorOp_t operation_kind, Node x, Node y) {
  Descriptor kind(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  kind.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  kind.set(CUDNN_ATTR_REDUCTION_OPERATOR, operation_kind);
  kind.finalize();
  Descriptor operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, at(x));
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, at(y));
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, kind);
  keep(std::move(operation), std::move(kind));
}

void Graph::reshape(Node x, Node y) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, at(x));
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, at(y));
  operation.finalize();
  operations_.push_back(std::move(operation));
}

void Graph::finish(const Target& target) {
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (target.handle != nullptr) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target.handle);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, std::span<const Descriptor>(operations_));
  graph.finalize();
  finished_ = std::move(graph);
}

}  // namespace train::cuda::cudnn

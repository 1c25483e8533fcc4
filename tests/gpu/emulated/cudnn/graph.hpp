#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "tests/gpu/emulated/cudnn/descriptor.hpp"

// Runs a graph of operations, one after the other, each as its documentation says it.
namespace emulated::cudnn {

using Extents = std::array<std::int64_t, 4>;

struct Tensor {
  explicit Tensor(const Descriptor& descriptor);

  std::int64_t elements() const;
  std::size_t element_bytes() const;
  /// Of an element, counted in elements, in its memory.
  std::int64_t offset(const Extents& at) const;
  /// From the first to the last, gaps included.
  std::size_t bytes() const;

  std::int64_t id, alignment;
  cudnnDataType_t type;
  Extents extents{}, strides{};
  bool in_memory, by_value;
};

/// What a tensor is in a call.
struct Bound {
  void* address = nullptr;
  float number = 0.0f;  ///< of a tensor by value
};
using Bindings = std::map<std::int64_t, Bound>;

/// Whether the emulated library has a kernel for a finished graph: heads of a multiple of 8.
bool known(const Descriptor& graph);
/// Whether a product goes into an f32 tensor that a call binds.
bool sums_in_any_order(const Descriptor& graph);
/// That a plan takes: for the backward pass that keeps the scores' gradients, 2 bytes each.
std::int64_t workspace_bytes(const Descriptor& graph);
/// The tensors that a call has to bind.
std::vector<Tensor> bound_tensors(const Descriptor& graph);
/// Reads and writes device memory: on a stream's thread.
void run(const Descriptor& graph, const Bindings& bindings);

}  // namespace emulated::cudnn

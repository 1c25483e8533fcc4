#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "collectives/types.hpp"
#include "libtrain/ops/cuda/workspace.hpp"
#include "libtrain/tensor/cuda/cuda_memory.hpp"

namespace train::cuda {

/// A row-major matrix. `transposed` swaps its extents as a factor of a product.
struct Factor {
  const void* data = nullptr;
  DataType type = DataType::f32;
  bool transposed = false;
  std::int64_t stride = 0;  ///< elements from row to row; 0: no gaps between them
};

/// c[m,n] = a[m,k] · b[k,n], or c += a · b; of positive extents, summed in f32 (never TF32).
struct Product {
  std::int64_t m = 0, n = 0, k = 0;
  Factor a, b;
  void* c = nullptr;
  DataType c_type = DataType::f32;
  bool add = false;
  std::int64_t c_stride = 0;  ///< as a factor's

  // What follows before the result rounds, all of c's type: c = gelu(a · b + bias).
  const void* bias = nullptr;  ///< n elements, or null
  bool gelu = false;           ///< the approximation by tanh
  void* pre = nullptr;         ///< m·n elements without gaps: keeps gelu's argument, or null
  /// m·n elements without gaps, or null: c = (a · b) · gelu'(these).
  const void* gelu_argument = nullptr;
};

/// Matrix products through cuBLASLt, on the stream of `memory`. What cuBLASLt's heuristics advise
/// is asked for once per kind of product, and kept. Sums are never reduced in the output's type or
/// by atomic additions, so the same call gives the same bits. Use from one thread at a time.
class Matrix {
 public:
  explicit Matrix(CudaMemory& memory);
  ~Matrix();
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  /// False, with nothing done, where cuBLASLt has no kernel for these types, addresses and what
  /// follows the product, or none that is fast: then a sum in f32 is the way. Extents that are no
  /// multiples of 8 are taken in two parts.
  bool multiply(const Product& product);

 private:
  struct Plans;

  CudaMemory& memory_;
  std::unique_ptr<Plans> plans_;
  std::size_t workspace_bytes_max_;
  Workspace workspace_;
};

}  // namespace train::cuda

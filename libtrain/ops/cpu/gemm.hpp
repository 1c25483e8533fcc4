#pragma once

#include <cstdint>
#include <memory>

#include "collectives/types.hpp"
#include "libtrain/ops/ops.hpp"

namespace train::cpu {

/// A row-major matrix whose rows lie `stride` elements apart. `transposed` swaps its extents as a
/// factor of a product.
struct ConstMatrix {
  const void* data = nullptr;
  DataType type = DataType::f32;
  std::int64_t stride = 0;
  bool transposed = false;
};

/// Matrix products, of positive extents, through oneDNN on `threads` OpenMP threads.
class Gemm {
 public:
  explicit Gemm(int threads);
  /// As asked for, or OMP_THREAD_LIMIT where that is lower.
  int threads() const { return threads_; }
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  /// c[m,n] = a[m,k] · b[k,n] + beta · c, all f32. Rows of c lie c_stride apart.
  void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const ConstMatrix& a,
                const ConstMatrix& b, float beta, float* c, std::int64_t c_stride);

  /// What follows a product before its result rounds: c = act(a · b + bias), or c += a · b.
  struct Finish {
    const void* bias = nullptr;  ///< n elements of bias_type, or null
    DataType bias_type = DataType::f32;
    Activation activation = Activation::none;
    bool add = false;
  };

  /// The same with factors of f32 or bf16 and c's own type, by a kernel that oneDNN generates for
  /// the shape, made once and kept. False, and nothing done, where it has none but a slow fallback:
  /// for bf16 on processors without AVX-512.
  bool multiply_fused(std::int64_t m, std::int64_t n, std::int64_t k, const ConstMatrix& a,
                      const ConstMatrix& b, const Finish& finish, void* c, DataType c_type,
                      std::int64_t c_stride);

 private:
  struct Kernels;

  int threads_;
  std::unique_ptr<Kernels> kernels_;
};

}  // namespace train::cpu

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

#include "libtrain/ops/cpu/cpu_ops.hpp"

namespace train::cpu {
namespace {

double best_seconds(const std::function<void()>& call) {
  constexpr int windows = 5;
  double best = std::numeric_limits<double>::max();
  for (int i = 0; i < windows; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best = std::min(best, elapsed.count());
  }
  return best;
}

}  // namespace

// One square product in both types, small enough for the caches.
double CpuOps::bf16_speedup() {
  constexpr std::int64_t n = 512;
  const Tensor wide(memory_, {n, n}, DataType::f32);
  const Tensor narrow(memory_, {n, n}, DataType::bf16);
  const Tensor product(memory_, {n, n}, DataType::f32);
  fill(wide, 1.0f);
  fill(narrow, 1.0f);
  const ConstMatrix a{narrow.raw(), DataType::bf16, n, false};
  const auto bf16 = [&] {
    return gemm_.multiply_fused(n, n, n, a, a, {}, product.raw(), DataType::f32, n);
  };
  if (!bf16()) return 1.0;  // the products convert to f32, so their peak is f32's
  const ConstMatrix b{wide.raw(), DataType::f32, n, false};
  const double wide_s =
      best_seconds([&] { gemm_.multiply(n, n, n, b, b, 0.0f, product.data<float>(), n); });
  return std::max(1.0, wide_s / best_seconds(bf16));
}

}  // namespace train::cpu

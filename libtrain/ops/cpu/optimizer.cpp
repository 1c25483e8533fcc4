#include <algorithm>
#include <atomic>
#include <cmath>

#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/scratch.hpp"
#include "libtrain/ops/cpu/vec.hpp"

namespace train::cpu {
namespace {

// Sums go by blocks of this size whatever the number of threads.
constexpr std::int64_t sum_block = 4096;

// `full` is the parameter in full precision; a bf16 `parameter` beside it receives the rounded one.
template <typename P, typename G>
void adamw_range(const AdamWFactors& f, float decay, std::int64_t begin, std::int64_t end,
                 P* parameter, float* full, const G* gradient, float* m, float* v) {
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) {
    const float grad = to_float(gradient[i]) * f.gradient_scale;
    const float mean = f.beta1 * m[i] + f.one_minus_beta1 * grad;
    const float variance = f.beta2 * v[i] + f.one_minus_beta2 * grad * grad;
    m[i] = mean;
    v[i] = variance;
    const float root = std::sqrt(variance) * f.root_variance + f.eps;
    const float updated = full[i] * decay - f.step_size * mean / root;
    full[i] = updated;
    if constexpr (!std::is_same_v<P, float>) parameter[i] = from_float<P>(updated);
  }
}

// Sums of 16 columns side by side, then of the columns: the order is the same on every processor.
template <typename T>
double block_of_squares(const T* values, std::int64_t count) {
  constexpr int columns = 16;
  double sums[columns] = {};
  std::int64_t i = 0;
  for (; i + columns <= count; i += columns) {
#pragma omp simd
    for (int column = 0; column < columns; ++column) {
      const double value = to_float(values[i + column]);
      sums[column] += value * value;
    }
  }
  for (; i < count; ++i) {
    const double value = to_float(values[i]);
    sums[0] += value * value;
  }
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

void CpuOps::adamw(std::span<const AdamWPart> parts, const AdamWStep& step) {
  invariant(step.step >= 1, "adamw: the first step is 1");
  const AdamWFactors factors(step);
  for (const AdamWPart& part : parts)
    update(part, factors, adamw_decay(step.lr, part.weight_decay));
}

void CpuOps::update(const AdamWPart& part, const AdamWFactors& factors, float decay) {
  const std::int64_t count = part.parameter.elements();
  invariant(part.gradient.elements() == count && part.m.elements() == count &&
                part.v.elements() == count &&
                (!part.master.defined() || part.master.elements() == count),
            "adamw: a gradient, m and v per parameter");
  invariant(part.master.defined() == (part.parameter.type() != DataType::f32),
            "adamw: a master copy beside a bf16 parameter, none beside f32");
  auto* const full = (part.master.defined() ? part.master : part.parameter).data<float>();
  auto* const m = part.m.data<float>();
  auto* const v = part.v.data<float>();
  with_type(part.parameter.type(), [&](auto tag) {
    with_type(part.gradient.type(), [&](auto gradient_tag) {
      auto* const rounded = part.parameter.data<decltype(tag)>();
      const auto* const grad = part.gradient.data<decltype(gradient_tag)>();
      parallel_ranges(threads_, count, serial_elements, [&](auto begin, auto end, int) {
        adamw_range(factors, decay, begin, end, rounded, full, grad, m, v);
      });
    });
  });
}

double CpuOps::sum_of_squares(std::span<const Tensor> parts) {
  double total = 0.0;
  for (const Tensor& part : parts) total += squares_of(part);
  return total;
}

double CpuOps::squares_of(const Tensor& x) {
  const std::int64_t count = x.elements();
  const std::int64_t blocks = (count + sum_block - 1) / sum_block;
  const Scratch<double> sums(memory_, blocks);
  with_type(x.type(), [&](auto tag) {
    const auto* in = x.data<decltype(tag)>();
    parallel_rows(threads_, blocks, sum_block, [&](auto first, auto last, int) {
      for (std::int64_t block = first; block < last; ++block) {
        const std::int64_t begin = block * sum_block;
        sums[block] = block_of_squares(in + begin, std::min(sum_block, count - begin));
      }
    });
  });
  double total = 0.0;
  for (std::int64_t block = 0; block < blocks; ++block) total += sums[block];
  return total;
}

bool CpuOps::all_finite(const Tensor& x) {
  const std::int64_t count = x.elements();
  const std::int64_t blocks = (count + sum_block - 1) / sum_block;
  std::atomic<bool> finite = true;
  with_type(x.type(), [&](auto tag) {
    const auto* in = x.data<decltype(tag)>();
    parallel_rows(threads_, blocks, sum_block, [&](auto first, auto last, int) {
      for (std::int64_t block = first; block < last; ++block) {
        if (!finite.load(std::memory_order_relaxed)) return;
        const auto* values = in + block * sum_block;
        // x - x is 0, or NaN for NaN and infinities; the sum keeps any NaN.
        const float sum = sum_over(std::min(sum_block, count - block * sum_block),
                                   [&](auto at) { return at(values) - at(values); });
        if (sum != 0.0f) finite.store(false, std::memory_order_relaxed);
      }
    });
  });
  return finite.load();
}

}  // namespace train::cpu

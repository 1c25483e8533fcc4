#include <algorithm>
#include <cmath>

#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/scratch.hpp"
#include "libtrain/ops/cpu/vec.hpp"

namespace train::cpu {
namespace {

// RMS norm is layer norm about zero instead of about the mean; `centred` tells them apart.

template <typename T>
void add_row(const T* a, const T* b, std::int64_t width, T* sum) {
  for_each_over(width, [&](auto at) { at.put(sum, at(a) + at(b)); });
}

template <bool centred, typename T>
void norm_row(const T* x, const float* weight, const float* bias, std::int64_t width, float eps,
              T* y, float* mean_out, float* rstd_out) {
  float mean = 0.0f;
  if constexpr (centred) {
    const float sum = sum_over(width, [&](auto at) { return at(x); });
    mean = sum / static_cast<float>(width);
    *mean_out = mean;
  }
  const float squares = sum_over(width, [&](auto at) {
    const auto distance = at(x) - mean;
    return distance * distance;
  });
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(width) + eps);
  *rstd_out = rstd;
  for_each_over(width, [&](auto at) { at.put(y, (at(x) - mean) * rstd * at(weight) + at(bias)); });
}

// x = a + b where these are defined. `mean` is undefined where the norm has none.
struct NormRows {
  Tensor a{}, b{}, x{}, y{}, mean{}, rstd{};
};
struct NormFactors {
  const float* weight;
  const float* bias;
  float eps;
};

template <bool centred>
void norm_rows(int threads, const NormRows& norm, const NormFactors& factors) {
  const std::int64_t rows = norm.y.shape().rows(), width = norm.y.shape().width();
  const bool adds = norm.a.defined();
  for (const Tensor& like_y : {norm.x, adds ? norm.a : norm.x, adds ? norm.b : norm.x}) {
    invariant(like_y.elements() == norm.y.elements() && like_y.type() == norm.y.type(),
              "what is normed, and what it is the sum of, are like y");
  }
  invariant(norm.rstd.elements() == rows && (!centred || norm.mean.elements() == rows),
            "a norm keeps statistics per row");
  with_type(norm.y.type(), [&](auto tag) {
    using T = decltype(tag);
    parallel_rows(threads, rows, width, [&](auto begin, auto end, int) {
      for (std::int64_t i = begin; i < end; ++i) {
        T* x = norm.x.data<T>() + i * width;
        if (adds) add_row(norm.a.data<T>() + i * width, norm.b.data<T>() + i * width, width, x);
        norm_row<centred>(
            x, factors.weight, factors.bias, width, factors.eps, norm.y.data<T>() + i * width,
            centred ? norm.mean.data<float>() + i : nullptr, norm.rstd.data<float>() + i);
      }
    });
  });
}

// With n = (x - mean) rstd and g = dy·weight: dx = rstd (g - mean(g) - n mean(g n)), without the
// mean(g) when not centred. Adds dy·n and dy to the row's thread's sums.
template <bool centred, bool add, typename T, typename Dx>
void norm_backward_row(const T* dy, const T* x, const float* weight, float mean, float rstd,
                       std::int64_t width, Dx* dx, float* dweight, float* dbias) {
  float sum = 0.0f;
  if constexpr (centred) sum = sum_over(width, [&](auto at) { return at(dy) * at(weight); });
  const float dot = sum_over(width, [&](auto at) {
    const auto normal = (at(x) - mean) * rstd;
    const auto grad = at(dy);
    at.put(dweight, at(dweight) + grad * normal);
    if constexpr (centred) at.put(dbias, at(dbias) + grad);
    return grad * at(weight) * normal;
  });
  if (dx == nullptr) return;
  const float shift = centred ? sum / static_cast<float>(width) : 0.0f;
  const float slope = dot / static_cast<float>(width);
  for_each_over(width, [&](auto at) {
    const auto normal = (at(x) - mean) * rstd;
    auto value = rstd * (at(dy) * at(weight) - shift - normal * slope);
    if constexpr (add) value += at(dx);
    at.put(dx, value);
  });
}

// The tensors of one norm; `mean` and `bias` are undefined where it has none.
struct NormBackward {
  const Tensor& dy;
  const Tensor& x;
  const float* weight;
  const float* mean;
  const float* rstd;
  const Gradient& dx;
};

// dweight and dbias of part p go to sums[2·p·width …].
template <bool centred>
void norm_backward_rows(const NormBackward& norm, int threads, float* sums) {
  const std::int64_t rows = norm.x.shape().rows(), width = norm.x.shape().width();
  const Tensor& dx = norm.dx.tensor;
  with_type(norm.x.type(), [&](auto tag) {
    with_type(dx.defined() ? dx.type() : norm.x.type(), [&](auto dx_tag) {
      using T = decltype(tag);
      using Dx = decltype(dx_tag);
      const T* dy = norm.dy.data<T>();
      const T* x = norm.x.data<T>();
      Dx* out = dx.defined() ? dx.data<Dx>() : nullptr;
      const auto row = norm.dx.write == Write::add ? norm_backward_row<centred, true, T, Dx>
                                                   : norm_backward_row<centred, false, T, Dx>;
      parallel_rows(threads, rows, width, [&](auto begin, auto end, int part) {
        float* dweight = sums + 2 * part * width;
        float* dbias = dweight + width;
        std::fill_n(dweight, 2 * width, 0.0f);
        for (std::int64_t i = begin; i < end; ++i) {
          row(dy + i * width, x + i * width, norm.weight, centred ? norm.mean[i] : 0.0f,
              norm.rstd[i], width, out == nullptr ? nullptr : out + i * width, dweight, dbias);
        }
      });
    });
  });
}

}  // namespace

void CpuOps::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
                        const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  const FloatRow weight_row(memory_, weight, y.shape().width(), 1.0f);
  const FloatRow bias_row(memory_, bias, y.shape().width(), 0.0f);
  norm_rows<true>(threads_, {.x = x, .y = y, .mean = mean, .rstd = rstd},
                  {weight_row.data(), bias_row.data(), eps});
}

void CpuOps::rms_norm(const Tensor& x, const Tensor& weight, float eps, const Tensor& y,
                      const Tensor& rstd) {
  const FloatRow weight_row(memory_, weight, y.shape().width(), 1.0f);
  const FloatRow zeros(memory_, Tensor(), y.shape().width(), 0.0f);
  norm_rows<false>(threads_, {.x = x, .y = y, .rstd = rstd},
                   {weight_row.data(), zeros.data(), eps});
}

void CpuOps::add_layer_norm(const Tensor& a, const Tensor& b, const Tensor& weight,
                            const Tensor& bias, float eps, const Tensor& sum, const Tensor& y,
                            const Tensor& mean, const Tensor& rstd) {
  const FloatRow weight_row(memory_, weight, y.shape().width(), 1.0f);
  const FloatRow bias_row(memory_, bias, y.shape().width(), 0.0f);
  norm_rows<true>(threads_, {.a = a, .b = b, .x = sum, .y = y, .mean = mean, .rstd = rstd},
                  {weight_row.data(), bias_row.data(), eps});
}

void CpuOps::add_rms_norm(const Tensor& a, const Tensor& b, const Tensor& weight, float eps,
                          const Tensor& sum, const Tensor& y, const Tensor& rstd) {
  const FloatRow weight_row(memory_, weight, y.shape().width(), 1.0f);
  const FloatRow zeros(memory_, Tensor(), y.shape().width(), 0.0f);
  norm_rows<false>(threads_, {.a = a, .b = b, .x = sum, .y = y, .rstd = rstd},
                   {weight_row.data(), zeros.data(), eps});
}

// Adds the parts' sums in their order, so that the result depends on the number of threads alone.
void CpuOps::finish_norm_backward(float* sums, int parts, std::int64_t width,
                                  const Gradient& dweight, const Gradient& dbias) {
  for (int part = 1; part < parts; ++part) {
    const float* other = sums + 2 * part * width;
#pragma omp simd
    for (std::int64_t i = 0; i < 2 * width; ++i) sums[i] += other[i];
  }
  if (dweight.tensor.defined()) write_gradient(dweight, sums);
  if (dbias.tensor.defined()) write_gradient(dbias, sums + width);
}

void CpuOps::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                 const Tensor& mean, const Tensor& rstd, const Gradient& dx,
                                 const Gradient& dweight, const Gradient& dbias) {
  const std::int64_t rows = x.shape().rows(), width = x.shape().width();
  invariant(dy.elements() == x.elements() && dy.type() == x.type(), "a norm's dy is like x");
  const FloatRow weight_row(memory_, weight, width, 1.0f);
  const int parts = part_count_rows(threads_, rows, width);
  const Scratch<float> sums(memory_, 2 * parts * width);
  norm_backward_rows<true>({dy, x, weight_row.data(), mean.data<float>(), rstd.data<float>(), dx},
                           threads_, sums.data());
  finish_norm_backward(sums.data(), parts, width, dweight, dbias);
}

void CpuOps::rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                               const Tensor& rstd, const Gradient& dx, const Gradient& dweight) {
  const std::int64_t rows = x.shape().rows(), width = x.shape().width();
  invariant(dy.elements() == x.elements() && dy.type() == x.type(), "a norm's dy is like x");
  const FloatRow weight_row(memory_, weight, width, 1.0f);
  const int parts = part_count_rows(threads_, rows, width);
  const Scratch<float> sums(memory_, 2 * parts * width);
  norm_backward_rows<false>({dy, x, weight_row.data(), nullptr, rstd.data<float>(), dx}, threads_,
                            sums.data());
  finish_norm_backward(sums.data(), parts, width, dweight, {});
}

}  // namespace train::cpu

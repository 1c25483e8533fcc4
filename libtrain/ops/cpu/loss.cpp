#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/vec.hpp"
#include "libtrain/ops/cpu/vector_math.hpp"
#include "libtrain/ops/token_checks.hpp"

namespace train::cpu {
namespace {

constexpr std::int32_t padding = -1;
constexpr std::int32_t elsewhere = -1;  // in another part of the vocabulary
constexpr float lowest = -std::numeric_limits<float>::infinity();

// A row is read from memory once: the later loops find it in the core's cache. Exponentials that
// have a place in full precision are kept, others are computed again.
template <typename Logit, typename Grad>
void cross_entropy_row(const Logit* logits, std::int32_t target, std::int64_t width, float scale,
                       float* loss, Grad* dlogits) {
  if (target == padding) {
    *loss = 0.0f;
    if (dlogits != nullptr) std::fill_n(dlogits, width, Grad{});
    return;
  }
  constexpr bool keeps = std::is_same_v<Grad, float>;
  const float largest = max_over(width, logits, lowest);
  const float chosen = to_float(logits[target]) - largest;  // before dlogits overwrites it
  const auto exponential = [&](auto at) { return fast_exp(at(logits) - largest); };
  const auto kept_exponential = [&](auto at) {
    const auto e = exponential(at);
    if constexpr (keeps) at.put(dlogits, e);
    return e;
  };
  const float sum = keeps && dlogits != nullptr ? sum_over(width, kept_exponential)
                                                : sum_over(width, exponential);
  *loss = std::log(sum) - chosen;
  if (dlogits == nullptr) return;
  const float factor = scale / sum;
  for_each_over(width, [&](auto at) {
    if constexpr (keeps) {
      at.put(dlogits, at(dlogits) * factor);
    } else {
      at.put(dlogits, exponential(at) * factor);
    }
  });
  dlogits[target] = from_float<Grad>(fast_exp(chosen) * factor - scale);
}

// The gradient of a part of a row whose maximum and sum of exponentials are `largest` and `sum`.
template <typename Logit, typename Grad>
void gradient_row(const Logit* logits, std::int32_t target, std::int64_t width, float largest,
                  float sum, float scale, Grad* dlogits) {
  if (scale == 0.0f) {
    std::fill_n(dlogits, width, Grad{});
    return;
  }
  const bool chosen = target != elsewhere;
  const float factor = scale / sum;
  // Before dlogits overwrites it.
  const float probability = chosen ? fast_exp(to_float(logits[target]) - largest) * factor : 0.0f;
  for_each_over(width, [&](auto at) { at.put(dlogits, fast_exp(at(logits) - largest) * factor); });
  if (chosen) dlogits[target] = from_float<Grad>(probability - scale);
}

}  // namespace

void CpuOps::cross_entropy(const Tensor& logits, std::span<const std::int32_t> targets, float scale,
                           const Tensor& losses, const Tensor& dlogits) {
  const std::int64_t rows = logits.shape().rows(), width = logits.shape().width();
  invariant(static_cast<std::int64_t>(targets.size()) == rows && losses.elements() == rows,
            "cross_entropy: a target and a loss per row of logits");
  invariant(!dlogits.defined() || dlogits.elements() == logits.elements(),
            "cross_entropy: dlogits has the logits' shape");
  check_targets(targets, width);
  float* loss = losses.data<float>();
  with_type(logits.type(), [&](auto tag) {
    with_type(dlogits.defined() ? dlogits.type() : logits.type(), [&](auto grad_tag) {
      using Grad = decltype(grad_tag);
      const auto* in = logits.data<decltype(tag)>();
      Grad* out = dlogits.defined() ? dlogits.data<Grad>() : nullptr;
      parallel_rows(threads_, rows, width, [&](auto begin, auto end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
          cross_entropy_row(in + row * width, targets[static_cast<std::size_t>(row)], width, scale,
                            loss + row, out == nullptr ? nullptr : out + row * width);
        }
      });
    });
  });
}

void CpuOps::row_maximum(const Tensor& logits, const Tensor& maximum) {
  const std::int64_t rows = logits.shape().rows(), width = logits.shape().width();
  invariant(maximum.elements() == rows, "row_maximum: a maximum per row of logits");
  float* largest = maximum.data<float>();
  with_type(logits.type(), [&](auto tag) {
    const auto* in = logits.data<decltype(tag)>();
    parallel_rows(threads_, rows, width, [&](auto begin, auto end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        largest[row] = max_over(width, in + row * width, lowest);
      }
    });
  });
}

void CpuOps::cross_entropy_parts(const Tensor& logits, std::span<const std::int32_t> targets,
                                 const Tensor& maximum, const Tensor& sums) {
  check_parts(logits, targets, maximum, sums);
  const std::int64_t rows = logits.shape().rows(), width = logits.shape().width();
  const float* largest = maximum.data<float>();
  float* sum = sums.data<float>();
  float* chosen = sum + rows;
  with_type(logits.type(), [&](auto tag) {
    const auto* first = logits.data<decltype(tag)>();
    parallel_rows(threads_, rows, width, [&](auto begin, auto end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        const auto* in = first + row * width;
        const float top = largest[row];
        const std::int32_t target = targets[static_cast<std::size_t>(row)];
        sum[row] = sum_over(width, [&](auto at) { return fast_exp(at(in) - top); });
        chosen[row] = target == elsewhere ? 0.0f : to_float(in[target]) - top;
      }
    });
  });
}

void CpuOps::cross_entropy_gradient(const Tensor& logits, std::span<const std::int32_t> targets,
                                    const Tensor& maximum, const Tensor& sums,
                                    std::span<const float> row_scale, const Tensor& dlogits) {
  check_parts(logits, targets, maximum, sums);
  invariant(row_scale.size() == targets.size() && dlogits.elements() == logits.elements(),
            "cross_entropy_gradient: a scale per row, dlogits of the logits' shape");
  const std::int64_t rows = logits.shape().rows(), width = logits.shape().width();
  const float* largest = maximum.data<float>();
  const float* sum = sums.data<float>();
  with_type(logits.type(), [&](auto tag) {
    with_type(dlogits.type(), [&](auto grad_tag) {
      const auto* in = logits.data<decltype(tag)>();
      auto* out = dlogits.data<decltype(grad_tag)>();
      parallel_rows(threads_, rows, width, [&](auto begin, auto end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
          const auto i = static_cast<std::size_t>(row);
          gradient_row(in + row * width, targets[i], width, largest[row], sum[row], row_scale[i],
                       out + row * width);
        }
      });
    });
  });
}

}  // namespace train::cpu

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/vec.hpp"
#include "libtrain/ops/cpu/vector_math.hpp"

namespace train::cpu {
namespace {

constexpr std::int32_t padding = -1;

void check_targets(std::span<const std::int32_t> targets, std::int64_t vocabulary) {
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] >= padding && targets[i] < vocabulary) continue;
    throw Error("target " + std::to_string(targets[i]) + " at position " + std::to_string(i) +
                " of the batch lies outside the model's vocabulary of " +
                std::to_string(vocabulary) + "; was the data tokenized for another model?");
  }
}

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
  const float largest = max_over(width, logits, -std::numeric_limits<float>::infinity());
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

}  // namespace train::cpu

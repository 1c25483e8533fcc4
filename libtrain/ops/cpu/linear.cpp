#include <algorithm>
#include <type_traits>

#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/scratch.hpp"
#include "libtrain/ops/cpu/vec.hpp"
#include "libtrain/ops/cpu/vector_math.hpp"

namespace train::cpu {
namespace {

// A rectangle of a row-major matrix of f32 or bf16.
struct Block {
  std::byte* data;
  DataType type;
  std::int64_t rows, columns, stride;

  Block columns_from(std::int64_t begin, std::int64_t count) const {
    return {data + begin * static_cast<std::int64_t>(size_of(type)), type, rows, count, stride};
  }
  Block rows_from(std::int64_t begin, std::int64_t count) const {
    return {data + begin * stride * static_cast<std::int64_t>(size_of(type)), type, count, columns,
            stride};
  }
  bool is_float() const { return type == DataType::f32; }
  float* floats() const { return reinterpret_cast<float*>(data); }
  ConstMatrix factor(bool transposed = false) const { return {data, type, stride, transposed}; }
};

Block block_of(const Tensor& tensor) {
  const Shape& shape = tensor.shape();
  return {static_cast<std::byte*>(tensor.raw()), tensor.type(), shape.rows(), shape.width(),
          shape.width()};
}

// The block as f32: itself, or a copy without gaps.
class FloatBlock {
 public:
  FloatBlock(Memory& memory, int threads, const Block& source)
      : copy_(memory, source.is_float() ? 0 : source.rows * source.columns), block_(source) {
    if (source.is_float()) return;
    block_ = {reinterpret_cast<std::byte*>(copy_.data()), DataType::f32, source.rows,
              source.columns, source.columns};
    const auto* from = reinterpret_cast<const BFloat16*>(source.data);
    parallel_rows(threads, source.rows, source.columns, [&](auto begin, auto end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        const BFloat16* in = from + row * source.stride;
        float* out = copy_.data() + row * source.columns;
#pragma omp simd
        for (std::int64_t i = 0; i < source.columns; ++i) out[i] = to_float(in[i]);
      }
    });
  }

  ConstMatrix factor(bool transposed = false) const {
    return block_.factor(transposed);
  }

 private:
  Scratch<float> copy_;
  Block block_;
};

// f32 accumulators for a block: the block itself, or memory beside it.
class Accumulator {
 public:
  Accumulator(Memory& memory, const Block& target)
      : own_(memory, target.is_float() ? 0 : target.rows * target.columns), target_(target) {}

  float* data() const { return target_.is_float() ? target_.floats() : own_.data(); }
  std::int64_t stride() const { return target_.is_float() ? target_.stride : target_.columns; }

  // Rounds what was accumulated beside the block into it, or adds it.
  void finish(int threads, Write write) const {
    if (target_.is_float()) return;
    auto* to = reinterpret_cast<BFloat16*>(target_.data);
    const float keep = write == Write::add ? 1.0f : 0.0f;
    parallel_rows(threads, target_.rows, target_.columns, [&](auto begin, auto end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        const float* in = own_.data() + row * target_.columns;
        BFloat16* out = to + row * target_.stride;
        if (keep == 0.0f) {
#pragma omp simd
          for (std::int64_t i = 0; i < target_.columns; ++i) out[i] = from_float<BFloat16>(in[i]);
        } else {
#pragma omp simd
          for (std::int64_t i = 0; i < target_.columns; ++i) {
            out[i] = from_float<BFloat16>(to_float(out[i]) + in[i]);
          }
        }
      }
    });
  }

 private:
  Scratch<float> own_;
  Block target_;
};

// y = act(c + bias), pre = c + bias where asked for; c may be y or pre.
template <Activation activation, typename Pre, typename Y>
void finish_row(const float* c, const float* bias, std::int64_t width, Pre* pre, Y* y) {
  if (pre != nullptr) {
    for_each_over(width, [&](auto at) {
      const auto value = at(c) + at(bias);
      at.put(pre, value);
      at.put(y, activate<activation>(value));
    });
  } else {
    for_each_over(width, [&](auto at) { at.put(y, activate<activation>(at(c) + at(bias))); });
  }
}

void finish_block(int threads, const float* c, std::int64_t c_stride, const float* bias,
                  Activation activation, const Block* pre, const Block& y) {
  with_type(pre != nullptr ? pre->type : y.type, [&](auto pre_tag) {
    with_type(y.type, [&](auto y_tag) {
      with_activation(activation, [&]<Activation act>() {
        using Pre = decltype(pre_tag);
        using Y = decltype(y_tag);
        parallel_rows(threads, y.rows, y.columns, [&](auto begin, auto end, int) {
          for (std::int64_t row = begin; row < end; ++row) {
            Pre* pre_row =
                pre == nullptr ? nullptr : reinterpret_cast<Pre*>(pre->data) + row * pre->stride;
            finish_row<act>(c + row * c_stride, bias, y.columns, pre_row,
                            reinterpret_cast<Y*>(y.data) + row * y.stride);
          }
        });
      });
    });
  });
}

// Columns of the N-wide side to work on at once, so that converted weights and unfinished results
// stay near the processor. Each block packs the other factor again: wide ones lose nothing by it.
std::int64_t block_width(std::int64_t m, std::int64_t n, std::int64_t k) {
  constexpr std::int64_t floats_max = 4 << 20, width_min = 1024;
  const std::int64_t width_max = std::max(floats_max / (m + k), width_min);
  const std::int64_t blocks = (n + width_max - 1) / width_max;
  return ((n + blocks - 1) / blocks + 63) / 64 * 64;
}

bool all_bf16(const Tensor& a, const Tensor& b) {
  return a.type() == DataType::bf16 && b.type() == DataType::bf16;
}

}  // namespace

void CpuOps::linear(const Tensor& x, const Tensor& w, const Tensor& bias, Activation activation,
                    const Tensor& pre, const Tensor& y) {
  const std::int64_t m = x.shape().rows(), k = x.shape().width(), n = w.shape()[0];
  invariant(w.shape().width() == k && y.shape().rows() == m && y.shape().width() == n,
            "linear: y[M,N] = x[M,K] w[N,K]");
  invariant(!bias.defined() || bias.elements() == n, "linear: a bias has N elements");
  invariant(!pre.defined() || pre.elements() == y.elements(), "linear: pre has y's shape");
  if (m == 0 || n == 0) return;
  const Tensor& kept = pre.defined() ? pre : y;  // what the product itself goes to
  const Activation fused = pre.defined() ? Activation::none : activation;

  const Block y_block = block_of(y), kept_block = block_of(kept);
  if (k == 0) {
    const FloatRow zeros(memory_, {}, n, 0.0f), bias_row(memory_, bias, n, 0.0f);
    finish_block(threads_, zeros.data(), 0, bias_row.data(), activation,
                 pre.defined() ? &kept_block : nullptr, y_block);
    return;
  }
  const Gemm::Finish finish{bias.defined() ? bias.raw() : nullptr,
                            bias.defined() ? bias.type() : DataType::f32, fused, false};
  if (all_bf16(x, w) &&
      gemm_.multiply_fused(m, n, k, block_of(x).factor(), block_of(w).factor(true), finish,
                           kept.raw(), kept.type(), n)) {
    if (pre.defined()) activate_into(activation, pre, y);
    return;
  }
  const bool finishes = bias.defined() || activation != Activation::none || pre.defined() ||
                        kept.type() != DataType::f32;
  const std::int64_t step = finishes || w.type() != DataType::f32 ? block_width(m, n, k) : n;
  const FloatRow bias_row(memory_, bias, n, 0.0f);
  const FloatBlock x_float(memory_, threads_, block_of(x));
  for (std::int64_t begin = 0; begin < n; begin += step) {
    const std::int64_t width = std::min(step, n - begin);
    const FloatBlock w_float(memory_, threads_, block_of(w).rows_from(begin, width));
    const Accumulator c(memory_, kept_block.columns_from(begin, width));
    gemm_.multiply(m, width, k, x_float.factor(), w_float.factor(true), 0.0f, c.data(), c.stride());
    if (!finishes) continue;
    const Block pre_part = kept_block.columns_from(begin, width);
    finish_block(threads_, c.data(), c.stride(), bias_row.data() + begin, activation,
                 pre.defined() ? &pre_part : nullptr, y_block.columns_from(begin, width));
  }
}

void CpuOps::linear_grad_input(const Tensor& dy, const Tensor& w, const Gradient& dx) {
  if (!dx.tensor.defined()) return;
  const std::int64_t m = dy.shape().rows(), n = dy.shape().width(), k = w.shape().width();
  invariant(w.shape()[0] == n && dx.tensor.shape().rows() == m && dx.tensor.shape().width() == k,
            "linear_grad_input: dx[M,K] = dy[M,N] w[N,K]");
  if (m == 0 || k == 0) return;
  const bool add = dx.write == Write::add;
  if (n == 0) {
    if (!add) fill(dx.tensor, 0.0f);
    return;
  }
  const Block dx_block = block_of(dx.tensor);
  Gemm::Finish finish;
  finish.add = add;
  if (all_bf16(dy, w) && gemm_.multiply_fused(m, k, n, block_of(dy).factor(), block_of(w).factor(),
                                              finish, dx.tensor.raw(), dx.tensor.type(), k)) {
    return;
  }
  const bool converts = dy.type() != DataType::f32 || w.type() != DataType::f32;
  const std::int64_t step = converts ? block_width(m, n, k) : n;
  const Accumulator c(memory_, dx_block);
  float beta = add && dx_block.is_float() ? 1.0f : 0.0f;
  for (std::int64_t begin = 0; begin < n; begin += step) {
    const std::int64_t width = std::min(step, n - begin);
    const FloatBlock dy_float(memory_, threads_, block_of(dy).columns_from(begin, width));
    const FloatBlock w_float(memory_, threads_, block_of(w).rows_from(begin, width));
    gemm_.multiply(m, k, width, dy_float.factor(), w_float.factor(), beta, c.data(), c.stride());
    beta = 1.0f;
  }
  c.finish(threads_, dx.write);
}

void CpuOps::linear_grad_weight(const Tensor& dy, const Tensor& x, const Gradient& dw,
                                const Gradient& dbias) {
  const std::int64_t m = dy.shape().rows(), n = dy.shape().width(), k = x.shape().width();
  invariant(x.shape().rows() == m, "linear_grad_weight: dy and x have as many rows");
  if (dbias.tensor.defined()) column_sums(dy, dbias);
  if (!dw.tensor.defined()) return;
  invariant(dw.tensor.shape().rows() == n && dw.tensor.shape().width() == k,
            "linear_grad_weight: dw[N,K] = dy[M,N]^T x[M,K]");
  if (n == 0 || k == 0) return;
  const bool add = dw.write == Write::add;
  if (m == 0) {
    if (!add) fill(dw.tensor, 0.0f);
    return;
  }
  Gemm::Finish finish;
  finish.add = add;
  if (all_bf16(dy, x) &&
      gemm_.multiply_fused(n, k, m, block_of(dy).factor(true), block_of(x).factor(), finish,
                           dw.tensor.raw(), dw.tensor.type(), k)) {
    return;
  }
  const bool converts = dy.type() != DataType::f32 || dw.tensor.type() != DataType::f32;
  const std::int64_t step = converts ? block_width(m, n, k) : n;
  const FloatBlock x_float(memory_, threads_, block_of(x));
  for (std::int64_t begin = 0; begin < n; begin += step) {
    const std::int64_t width = std::min(step, n - begin);
    const FloatBlock dy_float(memory_, threads_, block_of(dy).columns_from(begin, width));
    const Block target = block_of(dw.tensor).rows_from(begin, width);
    const Accumulator c(memory_, target);
    gemm_.multiply(width, k, m, dy_float.factor(true), x_float.factor(),
                   add && target.is_float() ? 1.0f : 0.0f, c.data(), c.stride());
    c.finish(threads_, dw.write);
  }
}

void CpuOps::column_sums(const Tensor& dy, const Gradient& dbias) {
  const std::int64_t rows = dy.shape().rows(), width = dy.shape().width();
  invariant(dbias.tensor.elements() == width, "a bias gradient has as many elements as dy columns");
  const Scratch<float> sums(memory_, 2 * width);
  // Each thread owns columns, so no two add to one sum; rows add up in runs of 128 to keep
  // rounding small over many rows.
  with_type(dy.type(), [&](auto tag) {
    using T = decltype(tag);
    const T* from = dy.data<T>();
    const std::int64_t grain =
        std::max<std::int64_t>(64, serial_elements / std::max<std::int64_t>(rows, 1));
    parallel_ranges(threads_, width, grain, [&](auto begin, auto end, int) {
      float* total = sums.data();
      float* run = sums.data() + width;
      std::fill(total + begin, total + end, 0.0f);
      for (std::int64_t first = 0; first < rows; first += 128) {
        std::fill(run + begin, run + end, 0.0f);
        for (std::int64_t row = first; row < std::min(rows, first + 128); ++row) {
          const T* in = from + row * width;
#pragma omp simd
          for (std::int64_t i = begin; i < end; ++i) run[i] += to_float(in[i]);
        }
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) total[i] += run[i];
      }
    });
  });
  write_gradient(dbias, sums.data());
}

}  // namespace train::cpu

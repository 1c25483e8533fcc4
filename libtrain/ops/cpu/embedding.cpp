#include <algorithm>

#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/scratch.hpp"
#include "libtrain/ops/token_checks.hpp"

namespace train::cpu {
namespace {

constexpr std::int32_t elsewhere = -1;  // in another part of the vocabulary

// Rows of y by token: where each token's rows begin in `order`, which lists the rows of equal
// tokens together, first row first (a counting sort). Tokens elsewhere are left out.
void sort_by_token(std::span<const std::int32_t> tokens, std::int64_t vocabulary,
                   std::int32_t* starts, std::int32_t* order) {
  std::fill_n(starts, vocabulary + 1, 0);
  for (const std::int32_t token : tokens) {
    if (token != elsewhere) ++starts[token + 1];
  }
  for (std::int64_t i = 0; i < vocabulary; ++i) starts[i + 1] += starts[i];
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] != elsewhere) order[starts[tokens[i]]++] = static_cast<std::int32_t>(i);
  }
  // Each start has moved to its token's end, the next token's start.
  for (std::int64_t i = vocabulary; i > 0; --i) starts[i] = starts[i - 1];
  starts[0] = 0;
}

template <typename T>
void add_row(const T* row, std::int64_t width, float* sum) {
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) sum[i] += to_float(row[i]);
}

template <typename T>
void write_row(const float* sum, std::int64_t width, Write write, T* out) {
  if (write == Write::add) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) out[i] = from_float<T>(to_float(out[i]) + sum[i]);
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) out[i] = from_float<T>(sum[i]);
  }
}

// Calls body(index, sum, part) for each gradient row in [0, rows): `sum` is a zeroed row of f32.
template <typename Body>
void with_row_sums(Memory& memory, int threads, std::int64_t rows, std::int64_t width,
                   Body&& body) {
  const Scratch<float> sums(memory, threads * width);
  parallel_rows(threads, rows, width, [&](auto begin, auto end, int part) {
    float* sum = sums.data() + part * width;
    for (std::int64_t row = begin; row < end; ++row) body(row, sum);
  });
}

}  // namespace

void CpuOps::embedding(std::span<const std::int32_t> tokens, const Tensor& table,
                       const Tensor& positions, const RowPositions& places, const Tensor& y) {
  const auto rows = static_cast<std::int64_t>(tokens.size());
  const std::int64_t width = table.shape().width();
  invariant(y.elements() == rows * width && y.type() == table.type(),
            "embedding: y holds a row of the table per token");
  invariant(!positions.defined() || (positions.type() == table.type() && places.length > 0 &&
                                     positions.shape().width() == width &&
                                     places.end(rows) <= positions.shape().rows()),
            "embedding: positions reach as far as the context");
  check_tokens(tokens, table.shape().rows());
  with_type(table.type(), [&](auto tag) {
    using T = decltype(tag);
    const T* from = table.data<T>();
    const T* offsets = positions.defined() ? positions.data<T>() : nullptr;
    T* out = y.data<T>();
    parallel_rows(threads_, rows, width, [&](auto begin, auto end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int32_t token = tokens[static_cast<std::size_t>(row)];
        T* to = out + row * width;
        const T* offset = offsets == nullptr ? nullptr : offsets + places.position_of(row) * width;
        if (token == elsewhere) {
          if (offset == nullptr) {
            std::fill_n(to, width, T{});
          } else {
            std::copy_n(offset, width, to);
          }
          continue;
        }
        const T* in = from + token * width;
        if (offset == nullptr) {
          std::copy_n(in, width, to);
          continue;
        }
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) {
          to[i] = from_float<T>(to_float(in[i]) + to_float(offset[i]));
        }
      }
    });
  });
}

void CpuOps::embedding_backward(std::span<const std::int32_t> tokens, const Tensor& dy,
                                const RowPositions& places, const Gradient& dtable,
                                const Gradient& dpositions) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  const std::int64_t width = dy.shape().width();
  invariant(dy.shape().rows() == count, "embedding_backward: dy holds a row per token");
  if (dtable.tensor.defined()) add_token_rows(tokens, dy, dtable);
  if (!dpositions.tensor.defined()) return;
  const Tensor& target = dpositions.tensor;
  const std::int64_t positions = target.shape().rows();
  invariant(places.length > 0 && target.shape().width() == width && places.end(count) <= positions,
            "embedding_backward: dpositions reach as far as the rows");
  const std::int64_t end = std::min(places.first + places.length, positions);
  with_type(dy.type(), [&](auto tag) {
    with_type(target.type(), [&](auto target_tag) {
      using T = decltype(target_tag);
      const auto* in = dy.data<decltype(tag)>();
      T* out = target.data<T>();
      with_row_sums(memory_, threads_, positions, width, [&](std::int64_t position, float* sum) {
        const bool within = position >= places.first && position < end;
        const std::int64_t first = within ? places.row_at(position) : count;
        if (first >= count) {
          if (dpositions.write == Write::assign) std::fill_n(out + position * width, width, T{});
          return;
        }
        std::fill_n(sum, width, 0.0f);
        for (std::int64_t row = first; row < count; row += places.length) {
          add_row(in + row * width, width, sum);
        }
        write_row(sum, width, dpositions.write, out + position * width);
      });
    });
  });
}

void CpuOps::add_token_rows(std::span<const std::int32_t> tokens, const Tensor& dy,
                            const Gradient& dtable) {
  const std::int64_t vocabulary = dtable.tensor.shape().rows(), width = dy.shape().width();
  invariant(dtable.tensor.shape().width() == width, "embedding_backward: dtable has dy's width");
  check_tokens(tokens, vocabulary);
  const Scratch<std::int32_t> starts(memory_, vocabulary + 1);
  const Scratch<std::int32_t> order(memory_, static_cast<std::int64_t>(tokens.size()));
  sort_by_token(tokens, vocabulary, starts.data(), order.data());
  const bool assign = dtable.write == Write::assign;
  with_type(dy.type(), [&](auto tag) {
    with_type(dtable.tensor.type(), [&](auto target_tag) {
      using T = decltype(target_tag);
      const auto* in = dy.data<decltype(tag)>();
      T* out = dtable.tensor.data<T>();
      with_row_sums(memory_, threads_, vocabulary, width, [&](std::int64_t token, float* sum) {
        const std::int32_t first = starts[token], last = starts[token + 1];
        if (first == last) {
          if (assign) std::fill_n(out + token * width, width, T{});
          return;
        }
        std::fill_n(sum, width, 0.0f);
        for (std::int32_t i = first; i < last; ++i) add_row(in + order[i] * width, width, sum);
        write_row(sum, width, dtable.write, out + token * width);
      });
    });
  });
}

}  // namespace train::cpu

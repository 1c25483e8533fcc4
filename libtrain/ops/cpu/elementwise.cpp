#include <algorithm>
#include <cstring>

#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/dropout_factors.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/scratch.hpp"
#include "libtrain/ops/cpu/vec.hpp"

namespace train::cpu {

FloatRow::FloatRow(Memory& memory, const Tensor& tensor, std::int64_t width, float undefined)
    : copy_(memory, tensor.defined() && tensor.type() == DataType::f32 ? 0 : width),
      data_(copy_.data()) {
  if (!tensor.defined()) {
    std::fill_n(copy_.data(), width, undefined);
    return;
  }
  invariant(tensor.elements() == width, "a row of weights has its op's width");
  if (tensor.type() == DataType::f32) {
    data_ = tensor.data<float>();
    return;
  }
  with_type(tensor.type(), [&](auto tag) {
    const auto* in = tensor.data<decltype(tag)>();
    for (std::int64_t i = 0; i < width; ++i) copy_[i] = to_float(in[i]);
  });
}

void CpuOps::write_gradient(const Gradient& gradient, const float* values) {
  with_type(gradient.tensor.type(), [&](auto tag) {
    using T = decltype(tag);
    T* out = gradient.tensor.data<T>();
    const std::int64_t count = gradient.tensor.elements();
    if (gradient.write == Write::add) {
      for (std::int64_t i = 0; i < count; ++i) {
        out[i] = from_float<T>(to_float(out[i]) + values[i]);
      }
    } else {
      for (std::int64_t i = 0; i < count; ++i) out[i] = from_float<T>(values[i]);
    }
  });
}

void CpuOps::dropout(const Tensor& x, const Dropout& dropout, const Tensor& y) {
  invariant(x.elements() == y.elements() && x.type() == y.type(), "dropout: y is like x");
  if (!dropout.active()) {
    if (y.raw() != x.raw()) convert(x, y);
    return;
  }
  with_type(x.type(), [&](auto tag) {
    using T = decltype(tag);
    const T* in = x.data<T>();
    T* out = y.data<T>();
    // Ten rounds of Philox cost as much as many passes: fork early.
    parallel_ranges(threads_, x.elements(), serial_elements / 8, [&](auto begin, auto end, int) {
      constexpr std::int64_t run = 256;
      float factors[run];
      for (std::int64_t first = begin; first < end; first += run) {
        const std::int64_t count = std::min(run, end - first);
        dropout_factors(dropout, static_cast<std::uint64_t>(first), count, factors);
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i) {
          const float value = to_float(in[first + i]) * factors[i];
          // A dropped infinity or NaN is dropped as well.
          out[first + i] = from_float<T>(factors[i] == 0.0f ? 0.0f : value);
        }
      }
    });
  });
}

void CpuOps::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  invariant(a.elements() == b.elements() && a.elements() == y.elements(),
            "add: three tensors of one size");
  with_type(a.type(), [&](auto a_tag) {
    with_type(b.type(), [&](auto b_tag) {
      with_type(y.type(), [&](auto y_tag) {
        using Y = decltype(y_tag);
        const auto* left = a.data<decltype(a_tag)>();
        const auto* right = b.data<decltype(b_tag)>();
        Y* out = y.data<Y>();
        parallel_ranges(threads_, y.elements(), serial_elements, [&](auto begin, auto end, int) {
          for_each_over(end - begin, [&](auto at) {
            at.put(out + begin, at(left + begin) + at(right + begin));
          });
        });
      });
    });
  });
}

void CpuOps::scale(const Tensor& x, float factor) {
  with_type(x.type(), [&](auto tag) {
    using T = decltype(tag);
    T* data = x.data<T>();
    parallel_ranges(threads_, x.elements(), serial_elements, [&](auto begin, auto end, int) {
      for_each_over(end - begin, [&](auto at) { at.put(data + begin, at(data + begin) * factor); });
    });
  });
}

void CpuOps::fill(const Tensor& x, float value) {
  with_type(x.type(), [&](auto tag) {
    using T = decltype(tag);
    T* data = x.data<T>();
    parallel_ranges(threads_, x.elements(), serial_elements, [&](auto begin, auto end, int) {
      std::fill(data + begin, data + end, from_float<T>(value));
    });
  });
}

void CpuOps::convert(const Tensor& source, const Tensor& target) {
  invariant(source.elements() == target.elements(), "convert: two tensors of one size");
  with_type(source.type(), [&](auto source_tag) {
    with_type(target.type(), [&](auto target_tag) {
      using T = decltype(target_tag);
      const auto* in = source.data<decltype(source_tag)>();
      T* out = target.data<T>();
      parallel_ranges(threads_, source.elements(), serial_elements, [&](auto begin, auto end, int) {
        if constexpr (std::is_same_v<decltype(source_tag), T>) {
          std::memmove(out + begin, in + begin, static_cast<std::size_t>(end - begin) * sizeof(T));
        } else {
          for_each_over(end - begin, [&](auto at) { at.put(out + begin, at(in + begin)); });
        }
      });
    });
  });
}

void CpuOps::copy_columns(const Tensor& from, std::int64_t from_column, std::int64_t count,
                          const Gradient& to, std::int64_t to_column) {
  const std::int64_t rows = from.shape().rows();
  const std::int64_t from_width = from.shape().width(), to_width = to.tensor.shape().width();
  invariant(from.type() == to.tensor.type() && to.tensor.shape().rows() == rows &&
                from_column + count <= from_width && to_column + count <= to_width,
            "copy_columns: columns of two matrices with the same rows and type");
  with_type(from.type(), [&](auto tag) {
    using T = decltype(tag);
    const T* in = from.data<T>() + from_column;
    T* out = to.tensor.data<T>() + to_column;
    parallel_rows(threads_, rows, count, [&](auto begin, auto end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* source = in + row * from_width;
        T* target = out + row * to_width;
        if (to.write == Write::assign) {
          std::copy_n(source, count, target);
          continue;
        }
        for_each_over(count, [&](auto at) { at.put(target, at(target) + at(source)); });
      }
    });
  });
}

}  // namespace train::cpu

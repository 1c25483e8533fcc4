#pragma once

#include <cstdint>
#include <initializer_list>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "collectives/types.hpp"
#include "libtrain/tensor/tensor.hpp"

// How kernels read and write elements: as f32, eight at a time where addresses allow it (32 bytes
// of f32, 16 of bf16), else one at a time. The type is known at run time only, which costs a branch
// that all threads take alike, and keeps one kernel for all combinations of types.
namespace train::cuda {

/// Elements that a thread handles at a time where addresses allow it.
inline constexpr int pack_size = 8;

__device__ __forceinline__ float to_float(float x) {
  return x;
}
__device__ __forceinline__ float to_float(BFloat16 x) {
  return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
}

/// Rounds to nearest even.
template <typename T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ BFloat16 from_float<BFloat16>(float x) {
  BFloat16 result;
  result.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
  return result;
}

/// n neighbours, loaded and stored with as few instructions as their alignment allows.
template <typename T, int n>
struct alignas(n * sizeof(T) < 16 ? n * sizeof(T) : 16) Elements {
  T at[n];
};

/// n neighbours as f32.
template <int n>
struct Pack {
  float at[n];
};

template <int n, typename T>
__device__ __forceinline__ Pack<n> load(const T* first) {
  const auto elements = *reinterpret_cast<const Elements<T, n>*>(first);
  Pack<n> pack;
#pragma unroll
  for (int i = 0; i < n; ++i) pack.at[i] = to_float(elements.at[i]);
  return pack;
}

template <int n, typename T>
__device__ __forceinline__ void store(T* first, const Pack<n>& pack) {
  Elements<T, n> elements;
#pragma unroll
  for (int i = 0; i < n; ++i) elements.at[i] = from_float<T>(pack.at[i]);
  *reinterpret_cast<Elements<T, n>*>(first) = elements;
}

/// A tensor's elements in a kernel, f32 or bf16. Null where the tensor is undefined.
class Values {
 public:
  Values() = default;
  explicit Values(const Tensor& tensor)
      : Values(tensor.defined() ? tensor.raw() : nullptr, tensor.type()) {}
  /// Of a tensor whose rows may have gaps, for kernels that step by its row_stride().
  static Values of_rows(const Tensor& tensor) {
    return {tensor.defined() ? tensor.rows_raw() : nullptr, tensor.type()};
  }

  __host__ __device__ bool defined() const { return data_ != nullptr; }

  /// The elements from `first` on.
  __host__ __device__ __forceinline__ Values from(std::int64_t first) const {
    Values rest = *this;
    rest.data_ = static_cast<char*>(data_) + first * (bf16_ ? 2 : 4);
    return rest;
  }
  template <int n>
  __device__ __forceinline__ Pack<n> load(std::int64_t first) const {
    if (bf16_) return cuda::load<n>(static_cast<const BFloat16*>(data_) + first);
    return cuda::load<n>(static_cast<const float*>(data_) + first);
  }
  template <int n>
  __device__ __forceinline__ void store(std::int64_t first, const Pack<n>& pack) const {
    if (bf16_) {
      cuda::store<n>(static_cast<BFloat16*>(data_) + first, pack);
    } else {
      cuda::store<n>(static_cast<float*>(data_) + first, pack);
    }
  }
  /// What load gives back of what store was given.
  template <int n>
  __device__ __forceinline__ Pack<n> rounded(Pack<n> pack) const {
    if (!bf16_) return pack;
#pragma unroll
    for (int i = 0; i < n; ++i) pack.at[i] = to_float(from_float<BFloat16>(pack.at[i]));
    return pack;
  }
  __device__ __forceinline__ float at(std::int64_t i) const {
    return load<1>(i).at[0];
  }

 private:
  Values(void* data, DataType type) : data_(data), bf16_(type == DataType::bf16) {
    invariant(bf16_ || type == DataType::f32, "a GPU computes in f32 and bf16");
  }

  void* data_ = nullptr;
  bool bf16_ = false;
};

/// Whether packs of pack_size may be loaded at every pack_size-th element of these tensors.
inline bool packs_fit(std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors) {
    if (tensor->defined() && reinterpret_cast<std::uintptr_t>(tensor->raw()) % 16 != 0) {
      return false;
    }
  }
  return true;
}

/// A gradient in a kernel: what is written to it is added where that was asked for.
class GradientValues {
 public:
  GradientValues() = default;
  explicit GradientValues(const Gradient& gradient)
      : values_(gradient.tensor), add_(gradient.write == Write::add) {}

  __host__ __device__ bool defined() const { return values_.defined(); }

  /// The elements from `first` on.
  GradientValues from(std::int64_t first) const {
    GradientValues rest = *this;
    rest.values_ = values_.from(first);
    return rest;
  }
  template <int n>
  __device__ __forceinline__ void store(std::int64_t first, Pack<n> pack) const {
    if (add_) {
      const Pack<n> before = values_.load<n>(first);
#pragma unroll
      for (int i = 0; i < n; ++i) pack.at[i] += before.at[i];
    }
    values_.store<n>(first, pack);
  }

 private:
  Values values_;
  bool add_ = false;
};

}  // namespace train::cuda

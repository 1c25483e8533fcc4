#include <cstdint>
#include <cstring>

#include "collectives/error.hpp"
#include "collectives/nccl/launch.cuh"
#include "collectives/nccl/reduce_blocks.hpp"

namespace train::nccl {
namespace {

constexpr unsigned threads = 256;
constexpr unsigned blocks_max = 512;  // leaves multiprocessors to the compute stream's work
constexpr std::size_t pack_bytes = 16;

// What one load brings.
template <typename T>
struct alignas(pack_bytes) Pack {
  T values[pack_bytes / sizeof(T)];
};

// bf16, as its bits.
struct Half {
  std::uint16_t bits;
};

template <typename T>
struct AccumulatorOf {
  using type = T;
};
template <>
struct AccumulatorOf<Half> {
  using type = float;
};

template <typename T>
__device__ T widen(T value) {
  return value;
}
__device__ float widen(Half value) {
  const std::uint32_t word = static_cast<std::uint32_t>(value.bits) << 16;
  float wide;
  memcpy(&wide, &word, sizeof(wide));
  return wide;
}

template <typename T>
__device__ void narrow(T value, T& out) {
  out = value;
}
// To nearest, ties to even; NaN stays NaN: as BFloat16 does on the host.
__device__ void narrow(float value, Half& out) {
  std::uint32_t word;
  memcpy(&word, &value, sizeof(word));
  const bool nan = (word & 0x7fffffffu) > 0x7f800000u;
  const std::uint32_t rounded =
      nan ? (word >> 16) | 0x40u : (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  out.bits = static_cast<std::uint16_t>(rounded);
}

// `b != b` is true for NaN alone: it replaces the accumulator, and stays there.
struct Sum {
  template <typename A>
  __device__ static A apply(A a, A b) {
    return a + b;
  }
};
struct Min {
  template <typename A>
  __device__ static A apply(A a, A b) {
    return (b < a) | (b != b) ? b : a;
  }
};
struct Max {
  template <typename A>
  __device__ static A apply(A a, A b) {
    return (b > a) | (b != b) ? b : a;
  }
};

// Thread i of the grid reduces packs i, i + threads, …; the last may be cut short.
template <typename T, typename Op>
__global__ void reduce_kernel(const std::byte* blocks, std::size_t stride, int block_count, T* out,
                              std::size_t count, bool aligned) {
  using A = typename AccumulatorOf<T>::type;
  constexpr int width = pack_bytes / sizeof(T);
  const std::size_t packs = (count + width - 1) / width;
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x; i < packs;
       i += step) {
    A sums[width];
    const Pack<T> first = reinterpret_cast<const Pack<T>*>(blocks)[i];
    for (int k = 0; k < width; ++k) sums[k] = widen(first.values[k]);
    for (int b = 1; b < block_count; ++b) {
      const auto* block = reinterpret_cast<const Pack<T>*>(blocks + b * stride);
      const Pack<T> next = block[i];
      for (int k = 0; k < width; ++k) {
        const A value = widen(next.values[k]);
        sums[k] = Op::apply(sums[k], value);
      }
    }
    Pack<T> result;
    for (int k = 0; k < width; ++k) narrow(sums[k], result.values[k]);
    if (aligned && (i + 1) * width <= count) {
      reinterpret_cast<Pack<T>*>(out)[i] = result;
    } else {
      for (int k = 0; k < width && i * width + k < count; ++k)
        out[i * width + k] = result.values[k];
    }
  }
}

template <typename T>
void reduce_as(ReduceOp op, const std::byte* blocks, std::size_t stride, int block_count,
               std::byte* out, std::size_t count, cudaStream_t stream) {
  const std::size_t packs = (count * sizeof(T) + pack_bytes - 1) / pack_bytes;
  const std::size_t wanted = (packs + threads - 1) / threads;
  const auto grid = static_cast<unsigned>(wanted < blocks_max ? wanted : blocks_max);
  const bool aligned = reinterpret_cast<std::uintptr_t>(out) % pack_bytes == 0;
  auto* kernel = op == ReduceOp::sum   ? reduce_kernel<T, Sum>
                 : op == ReduceOp::min ? reduce_kernel<T, Min>
                                       : reduce_kernel<T, Max>;
  launch("the reduction of blocks", kernel, grid, threads, stream, blocks, stride, block_count,
         reinterpret_cast<T*>(out), count, aligned);
}

}  // namespace

void reduce_blocks(DataType type, ReduceOp op, const std::byte* blocks, std::size_t stride,
                   int block_count, std::byte* out, std::size_t count, cudaStream_t stream) {
  if (count == 0) return;
  switch (type) {
    case DataType::f32:
      return reduce_as<float>(op, blocks, stride, block_count, out, count, stream);
    case DataType::bf16:
      return reduce_as<Half>(op, blocks, stride, block_count, out, count, stream);
    case DataType::f64:
      return reduce_as<double>(op, blocks, stride, block_count, out, count, stream);
    default:
      unreachable("integers are reduced by NCCL");
  }
}

}  // namespace train::nccl

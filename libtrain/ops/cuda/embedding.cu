#include <algorithm>

#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/cuda/map.cuh"
#include "libtrain/ops/cuda/rows.cuh"
#include "libtrain/ops/cuda/scratch.hpp"
#include "libtrain/ops/cuda/token_chunks.hpp"
#include "libtrain/ops/token_checks.hpp"

namespace train::cuda {
namespace {

constexpr std::int32_t elsewhere = -1;  // in another part of the vocabulary

// Rows that one block adds up: a frequent token's rows are many, and would keep one block busy long
// after all others are done.
constexpr std::int32_t chunk_rows = 32;

struct Lookup {
  const std::int32_t* tokens;
  Values table, positions, y;
  std::int64_t width;
  RowPositions places;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    const std::int64_t row = first / width, column = first % width;
    const std::int32_t token = tokens[row];
    Pack<n> pack{};
    if (token != elsewhere) pack = table.load<n>(token * width + column);
    if (positions.defined()) {
      const Pack<n> offset = positions.load<n>(places.position_of(row) * width + column);
#pragma unroll
      for (int i = 0; i < n; ++i) pack.at[i] += offset.at[i];
    }
    y.store<n>(first, pack);
  }
};

// One block per chunk of a token's rows, in their order.
template <int n>
__global__ void __launch_bounds__(row_threads_max)
    chunk_kernel(const TokenChunks::Chunk* chunks, const std::int32_t* order, Values dy,
                 std::int64_t width, float* parts, GradientValues dtable) {
  const TokenChunks::Chunk chunk = chunks[blockIdx.x];
  for (std::int64_t i = threadIdx.x * n; i < width; i += std::int64_t{blockDim.x} * n) {
    Pack<n> sum{};
#pragma unroll 4
    for (std::int32_t at = chunk.begin; at < chunk.end; ++at) {
      const Pack<n> row = dy.load<n>(order[at] * width + i);
#pragma unroll
      for (int j = 0; j < n; ++j) sum.at[j] += row.at[j];
    }
    if (chunk.part < 0) {
      dtable.store<n>(chunk.token * width + i, sum);
    } else {
      cuda::store<n>(parts + chunk.part * width + i, sum);
    }
  }
}

// One block per token that has more than one chunk.
template <int n>
__global__ void __launch_bounds__(row_threads_max)
    group_kernel(const TokenChunks::Group* groups, const float* parts, std::int64_t width,
                 GradientValues dtable) {
  const TokenChunks::Group group = groups[blockIdx.x];
  for (std::int64_t i = threadIdx.x * n; i < width; i += std::int64_t{blockDim.x} * n) {
    Pack<n> sum{};
    for (std::int32_t part = group.begin; part < group.end; ++part) {
      const Pack<n> row = cuda::load<n>(parts + part * width + i);
#pragma unroll
      for (int j = 0; j < n; ++j) sum.at[j] += row.at[j];
    }
    dtable.store<n>(group.token * width + i, sum);
  }
}

// Every row of dpositions: those that rows stand at get the sum over the batch, others nothing.
struct PositionSums {
  Values dy;
  GradientValues dpositions;
  std::int64_t rows, width;
  RowPositions places;

  template <int n>
  __device__ void apply(std::int64_t first) const {
    const std::int64_t position = first / width, column = first % width;
    Pack<n> sum{};
    const std::int64_t offset = position - places.first;
    const bool within = offset >= 0 && offset < places.length;
    const std::int64_t turned = offset - places.first_row % places.length;
    const std::int64_t begin = turned < 0 ? turned + places.length : turned;
    for (std::int64_t row = within ? begin : rows; row < rows; row += places.length) {
      const Pack<n> pack = dy.load<n>(row * width + column);
#pragma unroll
      for (int i = 0; i < n; ++i) sum.at[i] += pack.at[i];
    }
    dpositions.store<n>(first, sum);
  }
};

}  // namespace

void CudaOps::embedding(std::span<const std::int32_t> tokens, const Tensor& table,
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
  const Scratch<std::int32_t> on_device(memory_, tokens);
  const Lookup op{on_device.data(), Values(table), Values(positions), Values(y), width, places};
  map(op, rows * width, row_packs_fit(width, {&table, &positions, &y}), multiprocessors_, stream_);
}

void CudaOps::embedding_backward(std::span<const std::int32_t> tokens, const Tensor& dy,
                                 const RowPositions& places, const Gradient& dtable,
                                 const Gradient& dpositions) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  const std::int64_t width = dy.shape().width();
  invariant(dy.shape().rows() == count, "embedding_backward: dy holds a row per token");
  if (dtable.tensor.defined()) add_token_rows(tokens, dy, dtable);
  const Tensor& target = dpositions.tensor;
  if (!target.defined()) return;
  invariant(places.length > 0 && target.shape().width() == width &&
                places.end(count) <= target.shape().rows(),
            "embedding_backward: dpositions reach as far as the rows");
  const PositionSums op{Values(dy), GradientValues(dpositions), count, width, places};
  map(op, target.elements(), row_packs_fit(width, {&dy, &target}), multiprocessors_, stream_);
}

void CudaOps::add_token_rows(std::span<const std::int32_t> tokens, const Tensor& dy,
                             const Gradient& dtable) {
  const std::int64_t vocabulary = dtable.tensor.shape().rows(), width = dy.shape().width();
  invariant(dtable.tensor.shape().width() == width, "embedding_backward: dtable has dy's width");
  check_tokens(tokens, vocabulary);
  // Rows of tokens that do not occur; the others are then assigned.
  if (dtable.write == Write::assign) fill(dtable.tensor, 0.0f);
  const TokenChunks plan = chunk_by_token(tokens, vocabulary, chunk_rows);
  const Scratch<std::int32_t> order(memory_, std::span<const std::int32_t>(plan.order));
  const Scratch<TokenChunks::Chunk> chunks(memory_,
                                           std::span<const TokenChunks::Chunk>(plan.chunks));
  const Scratch<TokenChunks::Group> groups(memory_,
                                           std::span<const TokenChunks::Group>(plan.groups));
  const Scratch<float> parts(memory_, plan.parts * width);
  const bool packs = row_packs_fit(width, {&dy, &dtable.tensor});
  const GradientValues out(dtable);
  launch(packs ? chunk_kernel<pack_size> : chunk_kernel<1>,
         row_shape(static_cast<std::int64_t>(plan.chunks.size()), width, packs), stream_,
         chunks.data(), order.data(), Values(dy), width, parts.data(), out);
  launch(packs ? group_kernel<pack_size> : group_kernel<1>,
         row_shape(static_cast<std::int64_t>(plan.groups.size()), width, packs), stream_,
         groups.data(), parts.data(), width, out);
}

}  // namespace train::cuda

#include <algorithm>
#include <limits>

#include "libtrain/ops/cpu/attention_forward.hpp"
#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/dropout_factors.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/scratch.hpp"

namespace train::cpu {

void mask_future(float* scores, std::int64_t keys, std::int64_t lead) {
  constexpr float hidden = -std::numeric_limits<float>::infinity();
  for (std::int64_t j = std::max<std::int64_t>(0, lead + 1); j < keys; ++j) {
    float* row = scores + j * tile;
    for (std::int64_t lane = 0; lane < std::min<std::int64_t>(panel, j - lead); ++lane) {
      row[lane] = hidden;
    }
  }
}

void dropout_panel(const Dropout& dropout, std::uint64_t first, std::uint64_t row,
                   std::int64_t keys, float* factors) {
  float of_query[panel][tile];
  for (int lane = 0; lane < panel; ++lane) {
    dropout_factors(dropout, first + static_cast<std::uint64_t>(lane) * row, keys, of_query[lane]);
  }
  for (std::int64_t j = 0; j < keys; ++j) {
    for (int lane = 0; lane < panel; ++lane) factors[j * panel + lane] = of_query[lane][j];
  }
}

int CpuOps::attention_threads(const AttentionShape& shape) const {
  return shape.batch * shape.context * shape.qkv_width() < serial_elements ? 1 : threads_;
}

void CpuOps::attention(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
                       const Tensor& out, const Tensor& lse) {
  const std::int64_t rows = shape.batch * shape.context;
  invariant(shape.heads_match(), "attention: key/value heads divide the query heads");
  invariant(qkv.elements() == rows * shape.qkv_width() &&
                out.elements() == rows * shape.out_width() && out.type() == qkv.type() &&
                lse.elements() == rows * shape.heads,
            "attention: out and lse of qkv's rows");
  if (rows == 0 || shape.heads == 0) return;
  const std::int64_t floats = ForwardTiles::floats(shape.head_width);
  const int threads = attention_threads(shape);
  const Scratch<float> memory(memory_, threads * floats);
  with_type(qkv.type(), [&](auto tag) {
    using T = decltype(tag);
    const std::int64_t query_tiles = (shape.context + tile - 1) / tile;
    parallel_units(threads, shape.batch * shape.heads * query_tiles, [&](auto unit, int thread) {
      const std::int64_t batch = unit / query_tiles / shape.heads;
      const std::int64_t head = unit / query_tiles % shape.heads;
      // Late queries see most keys: start with the longest.
      const std::int64_t first = (query_tiles - 1 - unit % query_tiles) * tile;
      const HeadRows<T> in(qkv.data<T>(), shape, batch, head);
      const std::int64_t row = batch * shape.heads + head;
      const HeadForward<T, T> forward{
          .query = in.query,
          .query_stride = in.stride,
          .key = in.key,
          .value = in.value,
          .key_stride = in.stride,
          .out =
              out.data<T>() + batch * shape.context * shape.out_width() + head * shape.head_width,
          .out_stride = shape.out_width(),
          .lse = lse.data<float>() + row * shape.context,
          .queries = shape.context,
          .position = 0,
          .width = shape.head_width,
          .dropout = dropout.active() ? &dropout : nullptr,
          .dropout_index = static_cast<std::uint64_t>(shape.dropout_index(batch, head))};
      forward.run(first, {memory.data() + thread * floats, shape.head_width});
    });
  });
}

}  // namespace train::cpu

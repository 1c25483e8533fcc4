#include "libtrain/rounds/lane_layout.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "collectives/wide/codec/codec.hpp"

namespace train {

LaneLayout::LaneLayout(std::span<const LogicalTensor> tensors, const Fragments& fragments,
                       int ranks, int lanes)
    : ranks_(ranks), lanes_(lanes) {
  if (lanes < 1 || lanes > ranks) {
    throw Error(fmt::format("{} lanes for a cluster of {} ranks: a lane is a rank; use 1 to {}",
                            lanes, ranks, ranks));
  }
  for (int fragment = 0; fragment < fragments.count(); ++fragment) {
    const TensorRange range = fragments.tensors({fragment, fragment + 1});
    add_fragment(tensors.subspan(range.begin, range.count()));
  }
}

void LaneLayout::add_fragment(std::span<const LogicalTensor> tensors) {
  std::int64_t total = 0;
  for (const LogicalTensor& tensor : tensors) total += tensor.layout.shape().elements();
  constexpr auto block = static_cast<std::int64_t>(wide::codec_block);
  const std::int64_t blocks = (total + block - 1) / block;
  const auto cut = [&](int lane) { return std::min(total, blocks * lane / lanes_ * block); };

  std::vector<std::size_t> counts(static_cast<std::size_t>(lanes_), 0);
  std::int64_t start = 0;
  for (const LogicalTensor& tensor : tensors) {
    const Shape& shape = tensor.layout.shape();
    const Block whole = whole_block(shape);
    std::vector<std::vector<Block>> blocks_of(static_cast<std::size_t>(ranks_));
    offsets_.push_back(counts);
    for (int lane = 0; lane < lanes_; ++lane) {
      const std::int64_t begin = std::clamp<std::int64_t>(cut(lane) - start, 0, shape.elements());
      const std::int64_t end = std::clamp<std::int64_t>(cut(lane + 1) - start, 0, shape.elements());
      blocks_of[static_cast<std::size_t>(rank_of(lane))] =
          flat_range(std::span(&whole, 1), begin, end);
      counts[static_cast<std::size_t>(lane)] += static_cast<std::size_t>(end - begin);
    }
    layouts_.emplace_back(shape, std::move(blocks_of));
    start += shape.elements();
  }
  counts_.push_back(std::move(counts));
}

int LaneLayout::lane_of(int rank) const {
  for (int lane = 0; lane < lanes(); ++lane) {
    if (rank_of(lane) == rank) return lane;
  }
  return -1;
}

std::size_t LaneLayout::count(int fragment, int lane) const {
  return counts_.at(static_cast<std::size_t>(fragment))[static_cast<std::size_t>(lane)];
}

std::size_t LaneLayout::offset(std::size_t tensor, int rank) const {
  const int lane = lane_of(rank);
  return lane < 0 ? 0 : offsets_.at(tensor)[static_cast<std::size_t>(lane)];
}

}  // namespace train

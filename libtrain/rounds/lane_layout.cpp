#include "libtrain/rounds/lane_layout.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "collectives/wide/codec/codec.hpp"

namespace train {

LaneLayout::LaneLayout(std::span<const LogicalTensor> tensors, int ranks, int lanes)
    : ranks_(ranks) {
  if (lanes < 1 || lanes > ranks) {
    throw Error(fmt::format("{} lanes for a cluster of {} ranks: a lane is a rank; use 1 to {}",
                            lanes, ranks, ranks));
  }
  starts_.push_back(0);
  for (const LogicalTensor& tensor : tensors) {
    starts_.push_back(starts_.back() + tensor.layout.shape().elements());
  }
  constexpr auto block = static_cast<std::int64_t>(wide::codec_block);
  const std::int64_t blocks = (starts_.back() + block - 1) / block;
  for (int lane = 0; lane <= lanes; ++lane) {
    begins_.push_back(std::min(starts_.back(), blocks * lane / lanes * block));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Shape& shape = tensors[i].layout.shape();
    const Block whole = whole_block(shape);
    std::vector<std::vector<Block>> blocks_of(static_cast<std::size_t>(ranks));
    for (int lane = 0; lane < lanes; ++lane) {
      const auto place = static_cast<std::size_t>(lane);
      const std::int64_t begin = std::clamp(begins_[place], starts_[i], starts_[i + 1]);
      const std::int64_t end = std::clamp(begins_[place + 1], starts_[i], starts_[i + 1]);
      blocks_of[static_cast<std::size_t>(rank_of(lane))] =
          flat_range(std::span(&whole, 1), begin - starts_[i], end - starts_[i]);
    }
    layouts_.emplace_back(shape, std::move(blocks_of));
  }
}

int LaneLayout::lane_of(int rank) const {
  for (int lane = 0; lane < lanes(); ++lane) {
    if (rank_of(lane) == rank) return lane;
  }
  return -1;
}

std::size_t LaneLayout::count(int lane) const {
  const auto place = static_cast<std::size_t>(lane);
  return static_cast<std::size_t>(begins_[place + 1] - begins_[place]);
}

std::size_t LaneLayout::offset(std::size_t tensor, int rank) const {
  const int lane = lane_of(rank);
  if (lane < 0) return 0;
  const auto place = static_cast<std::size_t>(lane);
  const std::int64_t begin = std::clamp(starts_.at(tensor), begins_[place], begins_[place + 1]);
  return static_cast<std::size_t>(begin - begins_[place]);
}

}  // namespace train

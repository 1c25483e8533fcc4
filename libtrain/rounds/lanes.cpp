#include "libtrain/rounds/lanes.hpp"

#include "libtrain/parallel/redistribute.hpp"

namespace train {
namespace {

std::size_t part_size(const LaneLayout& layout, std::size_t tensor, int rank) {
  return static_cast<std::size_t>(layout.layout(tensor).local_elements(rank));
}

}  // namespace

Lanes::Lanes(const Grid& grid, std::span<const LogicalTensor> tensors, int lanes)
    : grid_(grid), layout_(tensors, grid.world().size(), lanes) {}

void Lanes::collect(std::span<const LogicalTensor> tensors, std::span<float> lane) const {
  std::vector<Redistribution> moves;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto part =
        lane.subspan(layout_.offset(i, grid_.rank()), part_size(layout_, i, grid_.rank()));
    moves.push_back({tensors[i].name, tensors[i].layout, layout_.layout(i),
                     tensors[i].local.buffer(), Buffer(part)});
  }
  redistribute(grid_.world(), moves);
}

void Lanes::spread(std::span<const float> lane, std::span<const LogicalTensor> tensors) const {
  std::vector<Redistribution> moves;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto part =
        lane.subspan(layout_.offset(i, grid_.rank()), part_size(layout_, i, grid_.rank()));
    moves.push_back({tensors[i].name, layout_.layout(i), tensors[i].layout, ConstBuffer(part),
                     tensors[i].local.buffer()});
  }
  redistribute(grid_.world(), moves);
}

}  // namespace train

#include "libtrain/rounds/lanes.hpp"

#include "libtrain/parallel/redistribute.hpp"

namespace train {
namespace {

std::size_t part_size(const LaneLayout& layout, std::size_t tensor, int rank) {
  return static_cast<std::size_t>(layout.layout(tensor).local_elements(rank));
}

// This rank's parts of tensors in host memory: where the device's memory is the host's, they are
// there already.
class HostParts {
 public:
  explicit HostParts(std::span<const LogicalTensor> tensors)
      : tensors_(tensors), copies_(tensors.size()) {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (copied(i)) copies_[i].resize(tensors_[i].local.bytes());
    }
  }

  void download() {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (copied(i)) tensors_[i].local.copy_to_host(copies_[i]);
    }
  }
  void upload() const {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (copied(i)) tensors_[i].local.copy_from_host(copies_[i]);
    }
  }
  Buffer buffer(std::size_t i) {
    const Tensor& local = tensors_[i].local;
    if (!copied(i)) return local.buffer();
    return {copies_[i].data(), static_cast<std::size_t>(local.elements()), local.type()};
  }

 private:
  bool copied(std::size_t i) const {
    const Tensor& local = tensors_[i].local;
    return local.defined() && !local.memory().on_host();
  }

  std::span<const LogicalTensor> tensors_;
  std::vector<std::vector<std::byte>> copies_;
};

}  // namespace

Lanes::Lanes(const Grid& grid, std::span<const LogicalTensor> tensors, const Fragments& fragments,
             int lanes)
    : grid_(grid), fragments_(fragments), layout_(tensors, fragments, grid.world().size(), lanes) {}

void Lanes::collect(std::span<const LogicalTensor> tensors, int fragment,
                    std::span<float> lane) const {
  const TensorRange which = fragments_.tensors({fragment, fragment + 1});
  HostParts parts(tensors.subspan(which.begin, which.count()));
  parts.download();
  std::vector<Redistribution> moves;
  for (std::size_t i = which.begin; i < which.end; ++i) {
    const auto part =
        lane.subspan(layout_.offset(i, grid_.rank()), part_size(layout_, i, grid_.rank()));
    moves.push_back({tensors[i].name, tensors[i].layout, layout_.layout(i),
                     parts.buffer(i - which.begin), Buffer(part)});
  }
  redistribute(grid_.world(), moves);
}

void Lanes::spread(std::span<const float> lane, int fragment,
                   std::span<const LogicalTensor> tensors) const {
  const TensorRange which = fragments_.tensors({fragment, fragment + 1});
  HostParts parts(tensors.subspan(which.begin, which.count()));
  std::vector<Redistribution> moves;
  for (std::size_t i = which.begin; i < which.end; ++i) {
    const auto part =
        lane.subspan(layout_.offset(i, grid_.rank()), part_size(layout_, i, grid_.rank()));
    moves.push_back({tensors[i].name, layout_.layout(i), tensors[i].layout, ConstBuffer(part),
                     parts.buffer(i - which.begin)});
  }
  redistribute(grid_.world(), moves);
  parts.upload();
}

}  // namespace train

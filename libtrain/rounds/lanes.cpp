#include "libtrain/rounds/lanes.hpp"

#include <algorithm>

#include "libtrain/parallel/redistribute.hpp"
#include "libtrain/parallel/redistribution_plan.hpp"

namespace train {
namespace {

// What passes at once: on a GPU as much of the host's memory is taken for it, in which ranks of a
// node that all have the whole model would else keep a copy of it each.
constexpr std::int64_t passing_bytes_max = std::int64_t{256} << 20;

// Tensors [begin, end) in turn, as many at once as passing_bytes_max holds, or one. Every rank cuts
// alike.
template <typename Visit>
void for_parts(std::span<const LogicalTensor> tensors, const TensorRange& range, Visit visit) {
  const auto bytes_of = [](const LogicalTensor& tensor) {
    return tensor.layout.shape().elements() * static_cast<std::int64_t>(sizeof(float));
  };
  for (TensorRange part{range.begin, range.begin}; part.begin < range.end; part.begin = part.end) {
    std::int64_t bytes = 0;
    do {
      bytes += bytes_of(tensors[part.end++]);
    } while (part.end < range.end && bytes + bytes_of(tensors[part.end]) <= passing_bytes_max);
    visit(part);
  }
}

// This rank's part of a tensor in host memory: where the device's memory is the host's, it is there
// already. Of a copy the contents are undefined.
class HostPart {
 public:
  HostPart(const Tensor& local, std::pmr::memory_resource& memory)
      : local_(local), copy_(nullptr, {&memory, 0}) {
    if (!local.defined() || local.memory().on_host()) return;
    copy_.get_deleter().bytes = local.bytes();
    copy_.reset(static_cast<std::byte*>(memory.allocate(local.bytes(), alignment)));
  }

  void download() const {
    if (copy_) local_.copy_to_host({copy_.get(), local_.bytes()});
  }
  void upload() const {
    if (copy_) local_.copy_from_host({copy_.get(), local_.bytes()});
  }
  Buffer buffer() const {
    if (!copy_) return local_.buffer();
    return {copy_.get(), static_cast<std::size_t>(local_.elements()), local_.type()};
  }

 private:
  static constexpr std::size_t alignment = 64;
  struct GiveBack {
    std::pmr::memory_resource* memory;
    std::size_t bytes;
    void operator()(std::byte* block) const { memory->deallocate(block, bytes, alignment); }
  };

  const Tensor& local_;
  std::unique_ptr<std::byte[], GiveBack> copy_;
};

// Of which tensors others, or this rank itself, want what it holds: of copies that several ranks
// have, one rank's are read, and whose depends on all tensors that go together.
std::vector<bool> sources_among(const Communicator& ranks, std::span<const LogicalTensor> tensors,
                                const TensorRange& range, const LaneLayout& to) {
  RedistributionPlan plan(ranks.size(), ranks.rank());
  for (std::size_t i = range.begin; i < range.end; ++i) {
    plan.add(tensors[i].name, tensors[i].layout, to.layout(i), sizeof(float));
  }
  std::vector<bool> read(range.count());
  for (const auto& copy : plan.copies()) read[copy.from.tensor] = true;
  for (const auto& pieces : plan.sends()) {
    for (const Region& piece : pieces) read[piece.tensor] = true;
  }
  return read;
}

}  // namespace

Lanes::Lanes(const Grid& grid, std::span<const LogicalTensor> tensors, const Fragments& fragments,
             int lanes, std::pmr::memory_resource& memory)
    : grid_(grid),
      fragments_(fragments),
      layout_(tensors, fragments, grid.world().size(), lanes),
      memory_(memory) {}

template <typename Span>
auto Lanes::of_lane(Span lane, std::size_t tensor) const {
  const std::int64_t size = layout_.layout(tensor).local_elements(grid_.rank());
  return lane.subspan(layout_.offset(tensor, grid_.rank()), static_cast<std::size_t>(size));
}

std::size_t Lanes::tensor_of(int fragment, std::size_t value) const {
  const TensorRange range = fragments_.tensors({fragment, fragment + 1});
  std::size_t tensor = range.end - 1;
  while (tensor > range.begin && layout_.offset(tensor, grid_.rank()) > value) --tensor;
  return tensor;
}

void Lanes::collect(std::span<const LogicalTensor> tensors, int fragment,
                    std::span<float> lane) const {
  for_parts(tensors, fragments_.tensors({fragment, fragment + 1}), [&](const TensorRange& range) {
    std::vector<HostPart> parts;
    std::vector<Redistribution> moves;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const HostPart& part = parts.emplace_back(tensors[i].local, memory_);
      moves.push_back({tensors[i].name, tensors[i].layout, layout_.layout(i), part.buffer(),
                       Buffer(of_lane(lane, i))});
    }
    if (!grid_.device().memory().on_host()) {
      const std::vector<bool> read = sources_among(grid_.world(), tensors, range, layout_);
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if (read[i]) parts[i].download();
      }
    }
    redistribute(grid_.world(), moves);
  });
}

void Lanes::spread(std::span<const float> lane, int fragment,
                   std::span<const LogicalTensor> tensors) const {
  for_parts(tensors, fragments_.tensors({fragment, fragment + 1}), [&](const TensorRange& range) {
    std::vector<HostPart> parts;
    std::vector<Redistribution> moves;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const HostPart& part = parts.emplace_back(tensors[i].local, memory_);
      moves.push_back({tensors[i].name, layout_.layout(i), tensors[i].layout,
                       ConstBuffer(of_lane(lane, i)), part.buffer()});
    }
    redistribute(grid_.world(), moves);
    for (const HostPart& part : parts) part.upload();
  });
}

}  // namespace train

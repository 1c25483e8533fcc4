#include "libtrain/parallel/redistribution_plan.hpp"

#include <algorithm>
#include <compare>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

constexpr std::size_t dimensions = Shape::max_rank;

// A block with four dimensions, those beyond the tensor's own of extent 1: plans compare many.
struct Box {
  std::array<std::int64_t, dimensions> begin{};
  std::array<std::int64_t, dimensions> end{};

  std::int64_t elements() const {
    std::int64_t product = 1;
    for (std::size_t i = 0; i < dimensions; ++i) product *= end[i] - begin[i];
    return product;
  }
  auto operator<=>(const Box&) const = default;
};

using Boxes = std::vector<Box>;

Box box_of(const Block& block) {
  Box box;
  box.end.fill(1);
  for (int i = 0; i < block.extent.rank(); ++i) {
    const auto d = static_cast<std::size_t>(i);
    box.begin[d] = block.offset[d];
    box.end[d] = block.offset[d] + block.extent[i];
  }
  return box;
}

Block block_of(const Box& box, int rank) {
  Block block;
  std::array<std::int64_t, dimensions> extents{};
  for (std::size_t i = 0; i < static_cast<std::size_t>(rank); ++i) {
    block.offset[i] = box.begin[i];
    extents[i] = box.end[i] - box.begin[i];
  }
  block.extent = Shape(std::span(extents).first(static_cast<std::size_t>(rank)));
  return block;
}

std::vector<Boxes> boxes_of(const Layout& layout) {
  std::vector<Boxes> boxes(static_cast<std::size_t>(layout.ranks()));
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    for (const Block& block : layout.blocks(rank)) {
      boxes[static_cast<std::size_t>(rank)].push_back(box_of(block));
    }
  }
  return boxes;
}

// False for empty boxes.
bool meet(const Box& a, const Box& b) {
  bool all = true;
  for (std::size_t i = 0; i < dimensions; ++i) {
    all &= std::max(a.begin[i], b.begin[i]) < std::min(a.end[i], b.end[i]);
  }
  return all;
}

Box common(const Box& a, const Box& b) {
  Box box;
  for (std::size_t i = 0; i < dimensions; ++i) {
    box.begin[i] = std::max(a.begin[i], b.begin[i]);
    box.end[i] = std::min(a.end[i], b.end[i]);
  }
  return box;
}

// `boxes` without what lies in `hole`: up to eight boxes around it for each.
Boxes without(const Boxes& boxes, const Box& hole) {
  Boxes rest;
  for (Box box : boxes) {
    if (!meet(box, hole)) {
      rest.push_back(box);
      continue;
    }
    for (std::size_t i = 0; i < dimensions; ++i) {
      Box side = box;
      if (box.begin[i] < hole.begin[i]) {
        side.end[i] = box.begin[i] = hole.begin[i];
        rest.push_back(side);
      }
      side = box;
      if (hole.end[i] < box.end[i]) {
        side.begin[i] = box.end[i] = hole.end[i];
        rest.push_back(side);
      }
    }
  }
  return rest;
}

// A block, the ranks that hold it, and the parts of it that are taken from them: what no other
// source gives already. Parts of all sources are disjoint.
struct Source {
  Box block;
  std::vector<int> holders;
  Boxes parts;

  bool held_by(int rank) const { return std::ranges::binary_search(holders, rank); }
};

std::vector<Source> sources_of(const std::vector<Boxes>& held) {
  std::vector<std::pair<Box, int>> all;
  for (std::size_t rank = 0; rank < held.size(); ++rank) {
    for (const Box& box : held[rank]) {
      if (box.elements() > 0) all.emplace_back(box, static_cast<int>(rank));
    }
  }
  std::ranges::sort(all);
  all.erase(std::unique(all.begin(), all.end()), all.end());
  std::vector<Source> sources;
  for (const auto& [box, rank] : all) {
    if (sources.empty() || sources.back().block != box) {
      Source source{box, {}, {box}};
      for (const Source& earlier : sources) {
        if (meet(earlier.block, box)) source.parts = without(source.parts, earlier.block);
      }
      sources.push_back(std::move(source));
    }
    sources.back().holders.push_back(rank);
  }
  return sources;
}

// A box of a tensor as it lies within a block that begins `offset` elements into a rank's memory.
Region region_of(const Box& box, const Box& block, std::int64_t offset, std::int64_t width,
                 std::size_t tensor) {
  Region region;
  region.tensor = tensor;
  region.begin = offset * width;
  region.extents.fill(1);
  // From the last dimension, joining those that are dense. Bytes of an element come first.
  std::size_t place = dimensions - 1;
  region.extents[place] = width;
  region.strides[place] = 1;
  std::int64_t stride = width;
  for (std::size_t i = dimensions; i-- > 0;) {
    const std::int64_t extent = box.end[i] - box.begin[i];
    region.begin += (box.begin[i] - block.begin[i]) * stride;
    if (stride == region.extents[place] * region.strides[place]) {
      region.extents[place] *= extent;
    } else if (extent > 1) {
      --place;
      region.extents[place] = extent;
      region.strides[place] = stride;
    }
    stride *= block.end[i] - block.begin[i];
  }
  return region;
}

bool within(const Box& part, const Box& whole) {
  return common(part, whole) == part;
}

// Where a rank that keeps `blocks` one after another keeps `box`, which lies in one of them.
Region region_in(const Boxes& blocks, const Box& box, std::int64_t width, std::size_t tensor) {
  std::int64_t offset = 0;
  for (const Box& block : blocks) {
    if (within(box, block)) return region_of(box, block, offset, width, tensor);
    offset += block.elements();
  }
  unreachable("a piece of a tensor lies in a block of the rank that holds it");
}

// What a rank lacks of a source's parts, by the index of the block that wants it.
struct Piece {
  std::size_t wanted;
  Box box;
};

std::vector<Piece> lacking(const Source& source, const Boxes& held, const Boxes& wanted) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!meet(wanted[i], source.block)) continue;
    Boxes rest{common(wanted[i], source.block)};
    for (const Box& block : held) rest = without(rest, block);
    for (const Box& box : rest) {
      for (const Box& part : source.parts) {
        if (meet(box, part)) pieces.push_back({i, common(box, part)});
      }
    }
  }
  return pieces;
}

void require_sources(const std::string& name, const Layout& to, const std::vector<Boxes>& wanted,
                     const std::vector<Source>& sources) {
  std::int64_t available = 0;
  for (const Source& source : sources) {
    for (const Box& part : source.parts) available += part.elements();
  }
  if (available == to.shape().elements()) return;
  for (std::size_t rank = 0; rank < wanted.size(); ++rank) {
    for (const Box& block : wanted[rank]) {
      if (block.elements() == 0) continue;
      Boxes rest{block};
      for (const Source& source : sources) rest = without(rest, source.block);
      if (rest.empty()) continue;
      throw Error(fmt::format(
          "tensor '{}' of shape {}: rank {} is to get block {}, which no rank holds; let the "
          "layout it comes from cover all that the layout it goes to asks for",
          name, to.shape().to_string(), rank, block_of(rest[0], to.shape().rank()).to_string()));
    }
  }
}

}  // namespace

struct RedistributionPlan::Move {
  std::size_t tensor;
  std::int64_t width;
  std::vector<Boxes> held;
  std::vector<Boxes> wanted;
  std::vector<Source> sources;

  bool in_want(const Source& source, std::size_t rank) const {
    return !source.held_by(static_cast<int>(rank)) &&
           std::ranges::any_of(wanted[rank],
                               [&](const Box& box) { return meet(box, source.block); });
  }
  // Who gives a source to the turn-th rank in want of it. Tensors and blocks begin the round at
  // different holders, so that one rank in want of many of them does not ask the same one.
  std::size_t holder(std::size_t source, std::size_t turn) const {
    const auto& holders = sources[source].holders;
    return static_cast<std::size_t>(holders[(turn + source + tensor) % holders.size()]);
  }
};

RedistributionPlan::RedistributionPlan(int ranks, int rank)
    : rank_(rank),
      sends_(static_cast<std::size_t>(ranks)),
      receives_(static_cast<std::size_t>(ranks)) {
  invariant(rank >= 0 && rank < ranks, "a plan is made for one of its ranks");
}

void RedistributionPlan::add(const std::string& name, const Layout& from, const Layout& to,
                             std::size_t width) {
  invariant(from.shape() == to.shape(), "both layouts of a plan are of one shape");
  invariant(std::cmp_equal(from.ranks(), sends_.size()) && from.ranks() == to.ranks(),
            "both layouts of a plan have its ranks");
  Move move{tensors_, static_cast<std::int64_t>(width), boxes_of(from), boxes_of(to), {}};
  move.sources = sources_of(move.held);
  require_sources(name, to, move.wanted, move.sources);
  add_copies(move);
  add_sends(move);
  add_receives(move);
  ++tensors_;
}

void RedistributionPlan::add_copies(const Move& move) {
  const auto self = static_cast<std::size_t>(rank_);
  std::int64_t to_offset = 0;
  for (const Box& block : move.wanted[self]) {
    Boxes rest{block};
    std::int64_t from_offset = 0;
    for (const Box& own : move.held[self]) {
      for (const Box& box : rest) {
        if (!meet(box, own)) continue;
        const Box shared = common(box, own);
        copies_.push_back({region_of(shared, own, from_offset, move.width, move.tensor),
                           region_of(shared, block, to_offset, move.width, move.tensor)});
      }
      rest = without(rest, own);
      from_offset += own.elements();
    }
    to_offset += block.elements();
  }
}

void RedistributionPlan::add_sends(const Move& move) {
  const auto self = static_cast<std::size_t>(rank_);
  for (std::size_t i = 0; i < move.sources.size(); ++i) {
    const Source& source = move.sources[i];
    if (!source.held_by(rank_)) continue;
    std::size_t turn = 0;
    for (std::size_t peer = 0; peer < move.wanted.size(); ++peer) {
      if (!move.in_want(source, peer) || move.holder(i, turn++) != self) continue;
      for (const Piece& piece : lacking(source, move.held[peer], move.wanted[peer])) {
        sends_[peer].push_back(region_in(move.held[self], piece.box, move.width, move.tensor));
      }
    }
  }
}

void RedistributionPlan::add_receives(const Move& move) {
  const auto self = static_cast<std::size_t>(rank_);
  std::vector<std::int64_t> offsets;
  std::int64_t elements = 0;
  for (const Box& block : move.wanted[self]) {
    offsets.push_back(elements);
    elements += block.elements();
  }
  for (std::size_t i = 0; i < move.sources.size(); ++i) {
    const Source& source = move.sources[i];
    if (!move.in_want(source, self)) continue;
    std::size_t turn = 0;
    if (source.holders.size() > 1) {
      for (std::size_t other = 0; other < self; ++other) turn += move.in_want(source, other);
    }
    auto& from_holder = receives_[move.holder(i, turn)];
    for (const auto& [wanted, box] : lacking(source, move.held[self], move.wanted[self])) {
      from_holder.push_back(
          region_of(box, move.wanted[self][wanted], offsets[wanted], move.width, move.tensor));
    }
  }
}

}  // namespace train

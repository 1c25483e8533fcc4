#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "libtrain/tensor/layout.hpp"

namespace train {

/// How a piece of a tensor lies in the memory of the rank that holds it, in bytes: four nested
/// loops, of which the innermost is contiguous. Dimensions that lie densely are one loop.
struct Region {
  std::size_t tensor = 0;
  std::int64_t begin = 0;
  std::array<std::int64_t, 4> extents{};
  std::array<std::int64_t, 4> strides{};

  std::int64_t bytes() const { return extents[0] * extents[1] * extents[2] * extents[3]; }
  bool contiguous() const { return bytes() == extents[3]; }
};

/// What one rank copies, sends and receives so that tensors pass from one layout to another: a pure
/// function of the layouts, the same from wherever it is seen. What a rank wants and holds, it
/// copies. Of a block that several hold, the ranks in want of it take turns at its holders, so that
/// each of H holders serves at most 1/H of them, rounded up.
/// Work per rank, tensor of d distinct blocks and n ranks: O(n + d) block comparisons times the few
/// blocks of a rank, and d²/2 to see which blocks overlap.
class RedistributionPlan {
 public:
  struct Copy {
    Region from, to;
  };

  RedistributionPlan(int ranks, int rank);

  /// The next tensor; `width` are the bytes of an element. Both layouts are of one shape and have
  /// as many ranks as the plan. Throws Error when a rank is to get what none has: on every rank,
  /// since it follows from the layouts.
  void add(const std::string& name, const Layout& from, const Layout& to, std::size_t width);

  const std::vector<Copy>& copies() const { return copies_; }
  /// For each other rank the pieces that go to it. Its receives() from here are as many, as large,
  /// in the same order.
  const std::vector<std::vector<Region>>& sends() const { return sends_; }
  const std::vector<std::vector<Region>>& receives() const { return receives_; }

 private:
  struct Move;

  void add_copies(const Move& move);
  void add_sends(const Move& move);
  void add_receives(const Move& move);

  int rank_;
  std::size_t tensors_ = 0;
  std::vector<Copy> copies_;
  std::vector<std::vector<Region>> sends_;
  std::vector<std::vector<Region>> receives_;
};

}  // namespace train

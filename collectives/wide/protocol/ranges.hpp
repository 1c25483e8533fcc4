#pragma once

#include <compare>
#include <cstdint>
#include <vector>

namespace train::wide {

/// Positions [begin, end) of the global sample order.
struct Range {
  std::uint64_t begin = 0, end = 0;
  auto operator<=>(const Range&) const = default;
};

/// A set of positions as sorted ranges that neither touch nor overlap. Costs are linear in the
/// count of ranges, which is a handful per member.
class RangeSet {
 public:
  RangeSet() = default;
  RangeSet(Range range) { add(range); }

  /// False if the ranges are not sorted, apart from each other and non-empty; then nothing changed.
  bool assign(std::vector<Range> ranges);

  void add(Range range);
  void add(const RangeSet& other);
  void remove(Range range);
  void remove(const RangeSet& other);
  /// Removes and returns the first `count` positions, or all if there are fewer.
  RangeSet take(std::uint64_t count);

  bool contains(const RangeSet& other) const;
  bool intersects(const RangeSet& other) const;
  /// How many positions.
  std::uint64_t size() const;
  bool empty() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }
  bool operator==(const RangeSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

}  // namespace train::wide

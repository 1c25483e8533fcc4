#include "collectives/wide/protocol/ranges.hpp"

#include <algorithm>
#include <utility>

#include "collectives/error.hpp"

namespace train::wide {

bool RangeSet::assign(std::vector<Range> ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].begin >= ranges[i].end) return false;
    if (i > 0 && ranges[i].begin <= ranges[i - 1].end) return false;
  }
  ranges_ = std::move(ranges);
  return true;
}

void RangeSet::add(Range range) {
  invariant(range.begin <= range.end, "a range ends before it begins");
  if (range.begin == range.end) return;
  // The ranges that touch the new one merge with it.
  auto first = std::lower_bound(ranges_.begin(), ranges_.end(), range.begin,
                                [](Range r, std::uint64_t begin) { return r.end < begin; });
  auto last = first;
  for (; last != ranges_.end() && last->begin <= range.end; ++last) {
    range = {std::min(range.begin, last->begin), std::max(range.end, last->end)};
  }
  first = ranges_.erase(first, last);
  ranges_.insert(first, range);
}

void RangeSet::add(const RangeSet& other) {
  for (Range range : other.ranges_) add(range);
}

void RangeSet::remove(Range range) {
  if (range.begin >= range.end) return;
  std::vector<Range> left;
  left.reserve(ranges_.size() + 1);
  for (Range r : ranges_) {
    Range before{r.begin, std::min(r.end, range.begin)};
    Range after{std::max(r.begin, range.end), r.end};
    if (r.end <= range.begin || r.begin >= range.end) {
      left.push_back(r);
    } else {
      if (before.begin < before.end) left.push_back(before);
      if (after.begin < after.end) left.push_back(after);
    }
  }
  ranges_ = std::move(left);
}

void RangeSet::remove(const RangeSet& other) {
  for (Range range : other.ranges_) remove(range);
}

RangeSet RangeSet::take(std::uint64_t count) {
  RangeSet taken;
  for (Range range : ranges_) {
    if (count == 0) break;
    const std::uint64_t length = std::min(count, range.end - range.begin);
    taken.ranges_.push_back({range.begin, range.begin + length});
    count -= length;
  }
  remove(taken);
  return taken;
}

bool RangeSet::contains(const RangeSet& other) const {
  return std::all_of(other.ranges_.begin(), other.ranges_.end(), [&](Range inner) {
    return std::any_of(ranges_.begin(), ranges_.end(), [&](Range outer) {
      return outer.begin <= inner.begin && inner.end <= outer.end;
    });
  });
}

bool RangeSet::intersects(const RangeSet& other) const {
  return std::any_of(other.ranges_.begin(), other.ranges_.end(), [&](Range a) {
    return std::any_of(ranges_.begin(), ranges_.end(),
                       [&](Range b) { return a.begin < b.end && b.begin < a.end; });
  });
}

std::uint64_t RangeSet::size() const {
  std::uint64_t count = 0;
  for (Range range : ranges_) count += range.end - range.begin;
  return count;
}

}  // namespace train::wide

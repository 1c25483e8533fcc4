#include "collectives/wide/protocol/ledger.hpp"

#include <algorithm>

#include "collectives/error.hpp"

namespace train::wide {

RangeSet Ledger::propose(std::uint64_t count, std::uint64_t limit) const {
  RangeSet unused = free_;
  RangeSet lease = unused.take(count);
  const std::uint64_t top = limit > 0 ? limit : ~std::uint64_t{0};
  const std::uint64_t fresh = std::min(count - lease.size(), top - std::min(next_, top));
  lease.add({next_, next_ + fresh});
  return lease;
}

Ledger::Entry* Ledger::find(const std::string& name) {
  const auto entry =
      std::find_if(leases_.begin(), leases_.end(), [&](const Entry& e) { return e.name == name; });
  return entry != leases_.end() ? &*entry : nullptr;
}

bool Ledger::can_lease(const RangeSet& ranges) const {
  RangeSet available = free_;
  for (Range range : ranges.ranges()) {
    if (range.begin > next_ && !available.contains(Range{next_, range.begin})) return false;
    available.add({std::max(range.begin, next_), std::max(range.end, next_)});
  }
  return available.contains(ranges);
}

void Ledger::lease(const std::string& name, const RangeSet& ranges) {
  invariant(can_lease(ranges), "samples are leased twice, or with a gap");
  for (Range range : ranges.ranges()) next_ = std::max(next_, range.end);
  free_.remove(ranges);
  Entry* entry = find(name);
  if (entry == nullptr) entry = &leases_.emplace_back(Entry{name, {}});
  entry->ranges.add(ranges);
}

void Ledger::release(const std::string& name) {
  if (Entry* entry = find(name)) {
    free_.add(entry->ranges);
    leases_.erase(leases_.begin() + (entry - leases_.data()));
  }
}

void Ledger::commit(const std::string& name, const RangeSet& used) {
  if (used.empty()) return;
  Entry* entry = find(name);
  invariant(entry != nullptr && entry->ranges.contains(used), "samples trained without a lease");
  entry->ranges.remove(used);
}

void Ledger::reset(const Position& position) {
  next_ = position.next;
  free_ = position.holes;
  leases_.clear();
}

const RangeSet& Ledger::leased(const std::string& name) const {
  static const RangeSet none;
  const auto entry =
      std::find_if(leases_.begin(), leases_.end(), [&](const Entry& e) { return e.name == name; });
  return entry != leases_.end() ? entry->ranges : none;
}

Position Ledger::position() const {
  Position position{next_, free_};
  for (const Entry& entry : leases_) position.holes.add(entry.ranges);
  return position;
}

bool Ledger::all_trained(std::uint64_t limit) const {
  return limit > 0 && next_ >= limit && position().holes.empty();
}

bool Ledger::consistent() const {
  RangeSet seen = free_;
  for (const Entry& entry : leases_) {
    if (seen.intersects(entry.ranges)) return false;
    seen.add(entry.ranges);
  }
  return seen.empty() || seen.ranges().back().end <= next_;
}

}  // namespace train::wide

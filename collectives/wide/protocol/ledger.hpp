#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collectives/wide/protocol/types.hpp"

namespace train::wide {

/// Who trains which samples. Every position below `next` is free, leased by one member, or trained:
/// trained is what is neither of the others, so that nothing can be trained twice or forgotten.
class Ledger {
 public:
  Ledger() = default;

  /// What a lease of up to `count` samples would be: returned ranges first, then new ones below
  /// `limit` (0: no limit).
  RangeSet propose(std::uint64_t count, std::uint64_t limit) const;
  bool can_lease(const RangeSet& ranges) const;
  void lease(const std::string& name, const RangeSet& ranges);
  /// Everything that `name` has goes back.
  void release(const std::string& name);
  /// `used`, a part of what `name` has, is trained.
  void commit(const std::string& name, const RangeSet& used);
  /// Forgets all leases; exactly what `position` says is trained.
  void reset(const Position& position);

  const RangeSet& leased(const std::string& name) const;
  Position position() const;
  bool all_trained(std::uint64_t limit) const;
  /// No position is free and leased, or leased twice, or at or above `next`.
  bool consistent() const;

  bool operator==(const Ledger&) const = default;
  template <typename Archive>
  friend void fields(Archive& archive, Ledger& ledger) {
    archive(ledger.next_, ledger.free_, ledger.leases_);
  }

 private:
  struct Entry {
    std::string name;
    RangeSet ranges;
    bool operator==(const Entry&) const = default;
    template <typename Archive>
    friend void fields(Archive& archive, Entry& entry) {
      archive(entry.name, entry.ranges);
    }
  };
  Entry* find(const std::string& name);

  std::uint64_t next_ = 0;
  RangeSet free_;
  std::vector<Entry> leases_;  // in the order of the first lease
};

}  // namespace train::wide

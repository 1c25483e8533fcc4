#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "collectives/wide/protocol/types.hpp"

namespace train::wide {

struct EpochMember {
  Identity self;
  std::uint64_t since = 0;        // the epoch that it entered
  std::uint64_t first_round = 0;  // the first round that it trains
  bool operator==(const EpochMember&) const = default;
};

/// A participant of an attempt, with what the commit will count as trained.
struct Contribution {
  Identity self;
  std::uint64_t tokens = 0;
  RangeSet used;
  std::uint64_t bandwidth_kbit = 0;  // shares out the summing; 0: not known
  bool operator==(const Contribution&) const = default;
};

// What the journal holds: one record per decision, in the order they were taken.

/// The job goes on from this state, which a member holds: at its start, or after every holder of
/// the last commit is gone.
struct Adopted {
  std::uint64_t job = 0;
  std::uint64_t rounds_total = 0;
  StateInfo state;
};
/// A new epoch; ends an attempt that was running. Leases of those who are out are free again.
struct EpochOpened {
  std::uint64_t epoch = 0;
  std::vector<EpochMember> members;
};
struct Leased {
  std::string name;
  RangeSet ranges;
};
struct AttemptStarted {
  ExchangeId id;
  std::vector<Contribution> contributions;
};
/// The attempt that was running is applied everywhere, and what it used is trained.
struct Committed {
  ExchangeId id;
  std::uint64_t hash = 0;
};

}  // namespace train::wide

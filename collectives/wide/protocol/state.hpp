#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collectives/wide/protocol/archive.hpp"
#include "collectives/wide/protocol/ledger.hpp"
#include "collectives/wide/protocol/records.hpp"

namespace train::wide {

/// All that the coordinator must not forget: the fold of the journal's records.
struct State {
  std::uint64_t job = 0;
  std::uint64_t rounds_total = 0;      // the job ends with this round; 0: never by count of rounds
  std::optional<StateInfo> committed;  // its position is kept in `ledger`, not here
  std::optional<ExchangeId> given_up;  // the newest state that the job has gone back from
  std::uint64_t epoch = 0;
  std::vector<EpochMember> members;         // of the epoch, by name
  std::uint32_t attempts = 0;               // started in this round
  std::optional<AttemptStarted> in_flight;  // neither committed nor ended by a new epoch
  Ledger ledger;

  const EpochMember* member(std::string_view name) const;
  /// The round that is being trained.
  std::uint64_t round() const { return committed ? committed->id.round + 1 : 0; }
  /// Whether all rounds are done, or all of `samples_total` samples (0: no end) are trained.
  bool finished(std::uint64_t samples_total) const;
  /// Whether a state of this name was left behind when the job went back: whoever has it has to
  /// fetch. Later ones of the job have greater epochs.
  bool gave_up(const ExchangeId& id) const { return given_up && id <= *given_up; }
  /// The committed state with its place in the data.
  StateInfo committed_info() const;
};

/// A journal begins with the state as it was compacted, and goes on with what happened since.
using Record = std::variant<State, Adopted, EpochOpened, Leased, AttemptStarted, Committed>;

/// Empty if the record can follow this state; else why not. A journal is read from a disk.
std::string refusal(const State& state, const Record& record);
/// The next state. The record must not be refused.
void fold(State& state, const Record& record);

template <typename A>
void fields(A& a, EpochMember& m) {
  a(m.self, m.since, m.first_round);
}
template <typename A>
void fields(A& a, Contribution& c) {
  a(c.self, c.tokens, c.used, c.bandwidth_kbit);
}
template <typename A>
void fields(A& a, Adopted& r) {
  a(r.job, r.rounds_total, r.state);
}
template <typename A>
void fields(A& a, EpochOpened& r) {
  a(r.epoch, r.members);
}
template <typename A>
void fields(A& a, Leased& r) {
  a(r.name, r.ranges);
}
template <typename A>
void fields(A& a, AttemptStarted& r) {
  a(r.id, r.contributions);
}
template <typename A>
void fields(A& a, Committed& r) {
  a(r.id, r.hash);
}
template <typename A>
void fields(A& a, State& s) {
  a(s.job, s.rounds_total, s.committed, s.given_up, s.epoch, s.members, s.attempts, s.in_flight,
    s.ledger);
}

}  // namespace train::wide

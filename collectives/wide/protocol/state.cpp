#include "collectives/wide/protocol/state.hpp"

#include <algorithm>
#include <type_traits>

namespace train::wide {
namespace {

bool sorted(const std::vector<EpochMember>& members) {
  for (std::size_t i = 1; i < members.size(); ++i) {
    if (members[i - 1].self.name >= members[i].self.name) return false;
  }
  return true;
}

std::string refusal_of(const State& state, const Adopted& record) {
  const Position& position = record.state.position;
  const bool holes_fit =
      position.holes.empty() || position.holes.ranges().back().end <= position.next;
  if (!holes_fit) return "a state with holes beyond its position";
  const bool same_job = state.job == record.job && state.rounds_total == record.rounds_total;
  if (state.job != 0 && !same_job) return "a state of another job";
  return "";
}

std::string refusal_of(const State& state, const EpochOpened& record) {
  if (!state.committed) return "an epoch without a state";
  if (!sorted(record.members)) return "members out of order";
  if (record.epoch <= state.epoch) return "an epoch that does not follow the last one";
  return "";
}

std::string refusal_of(const State& state, const Leased& record) {
  if (state.member(record.name) == nullptr) return "a lease of a cluster outside the epoch";
  return state.ledger.can_lease(record.ranges) ? "" : "samples leased twice, or with a gap";
}

std::string refusal_of(const State& state, const AttemptStarted& record) {
  const ExchangeId expected{state.epoch, state.round(), state.attempts + 1};
  if (!state.committed || record.id != expected) return "an exchange out of turn";
  if (record.contributions.size() != state.members.size()) return "an exchange of others";
  for (std::size_t i = 0; i < state.members.size(); ++i) {
    const Contribution& contribution = record.contributions[i];
    if (contribution.self != state.members[i].self) return "an exchange of others";
    if (!state.ledger.leased(contribution.self.name).contains(contribution.used)) {
      return "samples trained without a lease";
    }
  }
  return "";
}

std::string refusal_of(const State& state, const Committed& record) {
  if (!state.in_flight || state.in_flight->id != record.id) return "a commit of no exchange";
  return "";
}

std::string refusal_of(const State&, const State& record) {
  if (!record.ledger.consistent() || !sorted(record.members)) return "a state that cannot be";
  if (!record.in_flight) return "";
  State before = record;  // as it was when the attempt started
  before.in_flight.reset();
  --before.attempts;
  return refusal_of(before, *record.in_flight);
}

void apply_to(State& state, const Adopted& record) {
  if (state.committed && (!state.given_up || *state.given_up < state.committed->id)) {
    state.given_up = state.committed->id;
  }
  state.job = record.job;
  state.rounds_total = record.rounds_total;
  state.committed = record.state;
  state.committed->position = {};
  state.epoch = std::max(state.epoch, record.state.id.epoch);
  state.members.clear();
  state.attempts = 0;
  state.in_flight.reset();
  state.ledger.reset(record.state.position);
}

void apply_to(State& state, const EpochOpened& record) {
  for (const EpochMember& old : state.members) {
    const bool stays = std::any_of(
        record.members.begin(), record.members.end(),
        [&](const EpochMember& m) { return m.self == old.self && m.since == old.since; });
    if (!stays) state.ledger.release(old.self.name);
  }
  state.epoch = record.epoch;
  state.members = record.members;
  state.in_flight.reset();
}

void apply_to(State& state, const Leased& record) {
  state.ledger.lease(record.name, record.ranges);
}

void apply_to(State& state, const AttemptStarted& record) {
  state.attempts = record.id.attempt;
  state.in_flight = record;
}

void apply_to(State& state, const Committed& record) {
  for (const Contribution& contribution : state.in_flight->contributions) {
    state.ledger.commit(contribution.self.name, contribution.used);
  }
  state.committed = StateInfo{record.id, record.hash, {}};
  state.attempts = 0;
  state.in_flight.reset();
}

void apply_to(State& state, const State& record) {
  state = record;
}

}  // namespace

const EpochMember* State::member(std::string_view name) const {
  const auto found = std::find_if(members.begin(), members.end(),
                                  [&](const EpochMember& m) { return m.self.name == name; });
  return found != members.end() ? &*found : nullptr;
}

bool State::finished(std::uint64_t samples_total) const {
  if (committed && rounds_total > 0 && committed->id.round >= rounds_total) return true;
  return ledger.all_trained(samples_total);
}

StateInfo State::committed_info() const {
  invariant(committed.has_value(), "no state is committed yet");
  StateInfo info = *committed;
  info.position = ledger.position();
  return info;
}

std::string refusal(const State& state, const Record& record) {
  return std::visit([&](const auto& r) { return refusal_of(state, r); }, record);
}

void fold(State& state, const Record& record) {
  std::visit([&](const auto& r) { apply_to(state, r); }, record);
}

}  // namespace train::wide

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>

#include "collectives/wide/protocol/messages.hpp"
#include "collectives/wide/protocol/state.hpp"

namespace train::wide::sim {

/// An invariant that did not hold.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void require(bool holds, const std::string& what);

/// What one cluster truly put into an exchange.
struct Input {
  Identity self;
  std::uint64_t tokens = 0;
  RangeSet used;
  bool operator==(const Input&) const = default;
};

/// The outer state after an exchange: a hash chained over the one before and all inputs.
std::uint64_t exchange_result(std::uint64_t before, const std::map<std::string, Input>& inputs);

/// A process of a cluster, as far as the checks care.
struct Holder {
  std::string name;
  ExchangeId committed;
  std::uint64_t parameters = 0;
  std::map<ExchangeId, std::uint64_t> results;  // not applied, not dropped
};

/// Sees everything that truly happens, and compares it with what may.
class Checks {
 public:
  Checks(std::uint64_t initial_hash, std::uint64_t samples_total);

  /// A record is on the disk: from now on it may be acted on, and is never forgotten.
  void durable(const Record& record, const std::map<std::string, Holder>& living);
  void exchange_started(const std::string& process, const ExchangeId& id, std::uint64_t seen_epoch);
  /// `process` puts `input` into an attempt; the same one in every attempt of a round.
  void input(const std::string& process, const ExchangeId& id, const Input& input);
  void discarded(const std::string& process) { frozen_.erase(process); }
  void applied(const std::string& process, const StateInfo& state, std::uint64_t before,
               std::uint64_t after);
  void held(const std::string& name, const ExchangeId& id) { holders_[id].insert(name); }
  /// `name` may go, and others have the committed state.
  void released(const std::string& name);
  /// `name` may go without the last state, and nobody in its reach has it.
  void too_late(const std::string& name, const std::map<std::string, Holder>& within_reach);
  /// Parameters may be damaged after a commit. With nobody else left, the job goes on from them.
  void expect_damage(bool damage) { damage_ = damage; }
  void expect_hasty_rollbacks(bool hasty) { hasty_ = hasty; }
  void expect_nobody_dropped(bool steady) { steady_ = steady; }
  void replayed(const State& state) const;
  void finished(const std::map<std::string, Holder>& living) const;

  const State& journal() const { return state_; }
  std::uint64_t commits() const { return commits_.size() - 1; }
  std::uint64_t rollbacks() const { return rollbacks_; }
  std::uint64_t retries() const { return retries_; }
  std::uint64_t too_late() const { return too_late_; }

 private:
  struct CommitFacts {
    std::uint64_t before = 0, hash = 0;
    RangeSet trained;
  };
  void committed(const Committed& record, const std::map<std::string, Holder>& living);
  void adopted(const Adopted& record, const std::map<std::string, Holder>& living);

  std::uint64_t samples_total_;
  State state_;  // the fold of what is durable
  std::map<ExchangeId, CommitFacts> commits_;
  std::map<ExchangeId, std::map<std::string, Input>> inputs_;
  std::map<std::string, std::pair<std::uint64_t, Input>> frozen_;  // by process: round, input
  std::map<std::string, ExchangeId> last_started_;
  RangeSet trained_;
  std::map<ExchangeId, std::set<std::string>> holders_;  // names that had it at some time
  bool damage_ = false, steady_ = false, hasty_ = false;
  std::uint64_t rollbacks_ = 0, retries_ = 0, too_late_ = 0;
};

}  // namespace train::wide::sim

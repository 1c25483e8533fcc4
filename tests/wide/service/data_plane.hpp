#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/wide/simulator/checks.hpp"

namespace train::wide::test {

/// What clusters of one process would do over their links, and what is true of all of them: who
/// lives, what went into each exchange, which samples were trained. Parameters are one number, a
/// hash over all that was ever exchanged. Thread-safe.
class DataPlane {
 public:
  using Parameters = std::uint64_t;
  static constexpr Parameters initial = 0x1234;

  void born(const Identity& self);
  void gone(const Identity& self);
  std::vector<std::string> others_alive(const std::string& name) const;

  /// Brings a cluster's part into an exchange; with nothing, takes it out, and the exchange fails
  /// for the others.
  void offer(const Start& start, const std::string& name, const std::optional<sim::Input>& input);
  struct Outcome {
    std::optional<Parameters> result;  // of a whole exchange
    std::string lost;                  // else who keeps it from becoming one; empty: wait
  };
  Outcome outcome(const Start& start, Parameters before) const;

  /// What a cluster holds now, for others to fetch.
  void holds(const std::string& name, const ExchangeId& id, Parameters parameters);
  std::optional<Parameters> fetch(const Fetch& fetch) const;

  /// A cluster has applied an exchange. Notes what is wrong with that, if something is.
  void applied(const ExchangeId& id, const std::string& name, Parameters before, Parameters after);
  void wrong(const std::string& what);

  std::vector<std::string> troubles() const;
  RangeSet trained() const;
  std::uint64_t rounds() const;

 private:
  struct Commit {
    Parameters before = 0, after = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> alive_;  // incarnations
  std::map<ExchangeId, std::map<std::string, sim::Input>> inputs_;
  std::map<ExchangeId, std::set<std::string>> withdrawn_;
  std::map<std::string, std::pair<ExchangeId, Parameters>> held_;
  std::map<ExchangeId, Commit> commits_;
  RangeSet trained_;
  std::vector<std::string> troubles_;
};

}  // namespace train::wide::test

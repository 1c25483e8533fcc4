#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "collectives/wide/protocol/ranges.hpp"

namespace train::wide {

/// Milliseconds of any clock that never goes back. The protocol has no clock of its own.
using TimeMs = std::int64_t;

/// Names one exchange, and with it the state that its commit makes. Epochs only grow, rounds grow
/// within a line of states, attempts within a round: of two committed states the one with the
/// greater id is the newer. {0, 0, 0} is the state that every cluster builds from the seed.
struct ExchangeId {
  std::uint64_t epoch = 0, round = 0;
  std::uint32_t attempt = 0;
  auto operator<=>(const ExchangeId&) const = default;
};
/// "epoch 3 round 7 attempt 1".
std::string to_string(const ExchangeId& id);

/// Which samples a state was trained on: all below `next` but `holes`.
struct Position {
  std::uint64_t next = 0;
  RangeSet holes;
  bool operator==(const Position&) const = default;
};

/// The outer state (parameters and momentum) after a commit: everything that is to be known of it
/// but the numbers themselves.
struct StateInfo {
  ExchangeId id;
  std::uint64_t hash = 0;
  Position position;
  bool operator==(const StateInfo&) const = default;
};

/// A process of a cluster. A cluster that starts again has the same name and another incarnation.
struct Identity {
  std::string name;
  std::uint64_t incarnation = 0;
  auto operator<=>(const Identity&) const = default;
};

/// What a cluster brings.
struct Offer {
  std::vector<std::string> addresses;  // of its lanes, in their order; empty if it only dials out
  std::uint32_t lanes = 1;
  bool operator==(const Offer&) const = default;
};

}  // namespace train::wide

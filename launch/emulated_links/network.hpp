#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "launch/emulated_links/packet.hpp"
#include "launch/emulated_links/units.hpp"

namespace train::emulation {

/// Since an arbitrary moment; never goes back.
using Time = Duration;

/// A wire of limited rate. Whoever comes while it is busy waits behind the others.
class Wire {
 public:
  double bits_per_second = 0;  ///< 0: no limit

  Duration time_for(std::uint32_t bytes) const;
  /// How long something that comes at `now` waits until its first bit leaves.
  Duration wait(Time now) const { return std::max(Duration(0), free_ - now); }
  /// When the last bit of something that came at `now` has left.
  Time pass(Time now, std::uint32_t bytes) {
    return free_ = std::max(now, free_) + time_for(bytes);
  }

 private:
  Time free_{0};
};

/// From one port to another, in one direction.
struct PairRules {
  Duration delay{0};
  /// Each packet takes up to this much longer, but none overtakes another.
  Duration jitter{0};
  double loss = 0;
  bool is_up = true;
};

/// What was delivered, and what was not.
struct PairCounts {
  std::uint64_t wire_packets = 0, wire_bytes = 0, payload_bytes = 0;
  std::uint64_t packets_lost = 0;     ///< by chance, as PairRules::loss asks
  std::uint64_t packets_dropped = 0;  ///< a queue was full
  std::uint64_t packets_cut = 0;      ///< a link or a port was down
};

/// The emulated wide area: ports, and the way of packets from one to the other. Knows nothing of
/// devices and clocks: packets and times come in, packets go out.
///
/// A packet passes the sender's egress and the pair's own wire at once, flies for the pair's delay,
/// and passes the receiver's ingress. Bits flow through: two wires of one rate cost the time of
/// one. Each of the three has a queue that holds what it can send in `queue`; what comes later is
/// dropped, as a router would.
class Network {
 public:
  using Deliver = std::function<void(std::size_t port, const Packet&)>;

  Network(std::size_t ports, Duration queue, std::uint64_t seed);

  std::size_t ports() const { return ports_.size(); }
  PairRules& rules(std::size_t from, std::size_t to) { return pair(from, to).rules; }
  /// 0: no limit. What waits already keeps its time.
  void set_pair_rate(std::size_t from, std::size_t to, double bits_per_second);
  void set_port_rate(std::size_t port, double bits_per_second);
  /// A port that is down sends and receives nothing; the rules of its pairs stay.
  void set_port_up(std::size_t port, bool is_up) { ports_[port].is_up = is_up; }
  const PairCounts& counts(std::size_t from, std::size_t to) const;

  void send(std::size_t from, std::size_t to, Packet packet, Time now);
  /// Hands out what has arrived by `now`, in order of arrival.
  void advance(Time now, const Deliver& deliver);
  /// When the next packet arrives somewhere; nothing if none is under way.
  std::optional<Time> next() const;

 private:
  struct Flying {
    Time arrival;
    Duration spread;  // from its first bit to its last
    Packet packet;
  };
  struct Waiting {
    Time leaves;
    std::size_t from;
    Packet packet;
  };
  struct Pair {
    PairRules rules{};
    Wire wire{};
    Time last_arrival{0};
    std::deque<Flying> flying{};
    PairCounts counts{};
  };
  struct Port {
    Wire egress{}, ingress{};
    bool is_up = true;
    std::deque<Waiting> waiting{};
  };

  Pair& pair(std::size_t from, std::size_t to) { return pairs_[from * ports_.size() + to]; }
  bool is_open(std::size_t from, std::size_t to) {
    return ports_[from].is_up && ports_[to].is_up && pair(from, to).rules.is_up;
  }
  void arrive(std::size_t index);
  void hand_out(std::size_t port, const Deliver& deliver);

  std::vector<Port> ports_;
  std::vector<Pair> pairs_;
  Duration queue_;
  std::mt19937_64 random_;
};

}  // namespace train::emulation

#include "launch/emulated_links/network.hpp"

#include <algorithm>
#include <cmath>

namespace train::emulation {

Duration Wire::time_for(std::uint32_t bytes) const {
  if (bits_per_second == 0) return Duration(0);
  return Duration(std::llround(8e9 * bytes / bits_per_second));
}

Network::Network(std::size_t ports, Duration queue, std::uint64_t seed)
    : ports_(ports), pairs_(ports * ports), queue_(queue), random_(seed) {}

void Network::set_pair_rate(std::size_t from, std::size_t to, double bits_per_second) {
  pair(from, to).wire.bits_per_second = bits_per_second;
}

void Network::set_port_rate(std::size_t port, double bits_per_second) {
  ports_[port].egress.bits_per_second = bits_per_second;
  ports_[port].ingress.bits_per_second = bits_per_second;
}

const PairCounts& Network::counts(std::size_t from, std::size_t to) const {
  return pairs_[from * ports_.size() + to].counts;
}

void Network::send(std::size_t from, std::size_t to, Packet packet, Time now) {
  Pair& way = pair(from, to);
  Wire& egress = ports_[from].egress;
  if (!is_open(from, to)) {
    way.counts.packets_cut += packet.wire_packets;
    return;
  }
  const Time begins = now + egress.wait(now);
  if (begins - now > queue_ || way.wire.wait(begins) > queue_) {
    way.counts.packets_dropped += packet.wire_packets;
    return;
  }
  const Time leaves =
      std::max(egress.pass(now, packet.wire_bytes), way.wire.pass(begins, packet.wire_bytes));
  // A packet that is lost has taken its time on the wire.
  if (way.rules.loss > 0 && std::uniform_real_distribution(0.0, 1.0)(random_) < way.rules.loss) {
    way.counts.packets_lost += packet.wire_packets;
    return;
  }
  Duration delay = way.rules.delay;
  if (way.rules.jitter > Duration(0)) {
    delay +=
        Duration(std::uniform_int_distribution<std::int64_t>(0, way.rules.jitter.count())(random_));
  }
  way.last_arrival = std::max(way.last_arrival, leaves + delay);
  const Duration spread =
      std::max(egress.time_for(packet.wire_bytes), way.wire.time_for(packet.wire_bytes));
  way.flying.push_back({way.last_arrival, spread, std::move(packet)});
}

std::optional<Time> Network::next() const {
  std::optional<Time> soonest;
  const auto consider = [&](Time time) { soonest = soonest ? std::min(*soonest, time) : time; };
  for (const Pair& way : pairs_) {
    if (!way.flying.empty()) consider(way.flying.front().arrival);
  }
  for (const Port& port : ports_) {
    if (!port.waiting.empty()) consider(port.waiting.front().leaves);
  }
  return soonest;
}

// The first packet that flies along a pair reaches the receiver's ingress.
void Network::arrive(std::size_t index) {
  const std::size_t from = index / ports_.size(), to = index % ports_.size();
  Pair& way = pairs_[index];
  Port& port = ports_[to];
  Flying flying = std::move(way.flying.front());
  way.flying.pop_front();
  const Time begins = flying.arrival - flying.spread;
  if (!is_open(from, to)) {
    way.counts.packets_cut += flying.packet.wire_packets;
  } else if (port.ingress.wait(begins) > queue_) {
    way.counts.packets_dropped += flying.packet.wire_packets;
  } else {
    const Time passed = port.ingress.pass(begins, flying.packet.wire_bytes);
    port.waiting.push_back({std::max(flying.arrival, passed), from, std::move(flying.packet)});
  }
}

void Network::hand_out(std::size_t to, const Deliver& deliver) {
  const Waiting waiting = std::move(ports_[to].waiting.front());
  ports_[to].waiting.pop_front();
  PairCounts& counts = pair(waiting.from, to).counts;
  counts.wire_packets += waiting.packet.wire_packets;
  counts.wire_bytes += waiting.packet.wire_bytes;
  counts.payload_bytes += waiting.packet.payload_bytes;
  deliver(to, waiting.packet);
}

void Network::advance(Time now, const Deliver& deliver) {
  for (;;) {
    const auto first = std::ranges::min_element(pairs_, {}, [](const Pair& way) {
      return way.flying.empty() ? Time::max() : way.flying.front().arrival;
    });
    if (first->flying.empty() || first->flying.front().arrival > now) break;
    arrive(static_cast<std::size_t>(first - pairs_.begin()));
  }
  for (std::size_t port = 0; port < ports_.size(); ++port) {
    auto& waiting = ports_[port].waiting;
    while (!waiting.empty() && waiting.front().leaves <= now) hand_out(port, deliver);
  }
}

}  // namespace train::emulation

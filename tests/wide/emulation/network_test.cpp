// The emulated wide area without devices and clocks: packets and times in, packets and times out.
#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "launch/emulated_links/commands.hpp"

namespace train::emulation {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// What a TUN device hands out for TCP: `segment` bytes each, `payload` in all.
std::vector<std::byte> tcp(std::size_t payload, std::uint16_t segment) {
  std::vector<std::byte> bytes(10 + 20 + 32 + payload);
  if (payload > segment) {
    bytes[1] = std::byte{1};
    std::memcpy(&bytes[4], &segment, sizeof segment);
  }
  bytes[10] = std::byte{0x45};
  bytes[19] = std::byte{6};
  const std::array<std::uint8_t, 8> addresses{10, 77, 0, 1, 10, 77, 0, 2};
  std::memcpy(&bytes[22], addresses.data(), addresses.size());
  bytes[42] = std::byte{8 << 4};
  return bytes;
}

Packet packet_of(std::uint32_t wire_bytes) {
  Packet packet;
  packet.wire_packets = 1;
  packet.wire_bytes = wire_bytes;
  return packet;
}

struct Arrival {
  std::size_t port;
  Time time;
  std::uint32_t bytes;
  bool operator==(const Arrival&) const = default;
};

// All that is under way, with the times at which it arrives.
std::vector<Arrival> drain(Network& network) {
  std::vector<Arrival> arrivals;
  while (const auto next = network.next()) {
    network.advance(*next, [&](std::size_t port, const Packet& packet) {
      arrivals.push_back({port, *next, packet.wire_bytes});
    });
  }
  return arrivals;
}

TEST_CASE("a packet with segmentation offload counts as what crosses the wire") {
  const auto many = facts_of(tcp(10'000, 1448));
  REQUIRE(many);
  CHECK(many->wire_packets == 7);
  CHECK(many->wire_bytes == 10'000 + 7 * 52);
  CHECK(many->payload_bytes == 10'000);
  CHECK(many->source == 0x0a4d0001);
  CHECK(many->destination == 0x0a4d0002);
  const auto one = facts_of(tcp(0, 1448));
  REQUIRE(one);
  CHECK(one->wire_packets == 1);
  CHECK(one->wire_bytes == 52);
}

TEST_CASE("damaged packets are nothing") {
  const auto good = tcp(5, 1448);
  for (std::size_t size = 0; size < 62; ++size) {
    CHECK_FALSE(facts_of(std::span(good).first(size)));
  }
  auto version_6 = good;
  version_6[10] = std::byte{0x65};
  CHECK_FALSE(facts_of(version_6));
  auto long_header = good;
  long_header[42] = std::byte{15 << 4};
  CHECK_FALSE(facts_of(long_header));
}

TEST_CASE("delay and rate add up; two wires of one rate cost the time of one") {
  Network network(2, milliseconds(200), 1);
  network.rules(0, 1).delay = milliseconds(40);
  for (const std::size_t port : {0, 1}) network.set_port_rate(port, 8e6);  // a byte each µs
  network.send(0, 1, packet_of(1000), Time(0));
  network.send(0, 1, packet_of(500), Time(0));
  network.send(1, 0, packet_of(100), Time(0));
  const std::vector<Arrival> expected{
      {0, microseconds(100), 100}, {1, microseconds(41'000), 1000}, {1, microseconds(41'500), 500}};
  CHECK(drain(network) == expected);
  CHECK(network.counts(0, 1).wire_bytes == 1500);
  CHECK(network.counts(1, 0).wire_packets == 1);
}

TEST_CASE("a port's rate is shared by those who send to it, a slow pair delays no other") {
  Network network(3, milliseconds(200), 1);
  network.set_port_rate(2, 8e6);
  network.send(0, 2, packet_of(1000), Time(0));
  network.send(1, 2, packet_of(1000), Time(0));
  CHECK(drain(network).back().time == microseconds(2000));

  Network slow(3, milliseconds(200), 1);
  slow.set_pair_rate(0, 1, 8e3);
  slow.send(0, 1, packet_of(100), Time(0));
  slow.send(0, 2, packet_of(100), Time(0));
  const std::vector<Arrival> expected{{2, Time(0), 100}, {1, milliseconds(100), 100}};
  CHECK(drain(slow) == expected);
}

TEST_CASE("a queue holds what its wire sends in its time, and drops the rest") {
  Network network(2, milliseconds(10), 1);
  network.set_port_rate(0, 8e6);
  for (int i = 0; i < 100; ++i) network.send(0, 1, packet_of(1000), Time(0));
  CHECK(drain(network).size() == 11);
  CHECK(network.counts(0, 1).packets_dropped == 89);

  Network incast(3, milliseconds(10), 1);
  incast.set_port_rate(2, 8e6);
  for (int i = 0; i < 100; ++i) incast.send(i % 2, 2, packet_of(1000), Time(0));
  CHECK(drain(incast).size() == 11);
  CHECK(incast.counts(0, 2).packets_dropped + incast.counts(1, 2).packets_dropped == 89);
}

TEST_CASE("jitter delays, and reorders nothing") {
  Network network(2, milliseconds(200), 7);
  network.rules(0, 1) = {.delay = milliseconds(10), .jitter = milliseconds(5)};
  for (std::uint32_t i = 1; i <= 1000; ++i) network.send(0, 1, packet_of(i), milliseconds(i));
  const auto arrivals = drain(network);
  REQUIRE(arrivals.size() == 1000);
  Duration least = Duration::max(), most(0);
  for (std::uint32_t i = 1; i <= 1000; ++i) {
    REQUIRE(arrivals[i - 1].bytes == i);
    const Duration took = arrivals[i - 1].time - milliseconds(i);
    least = std::min(least, took);
    most = std::max(most, took);
  }
  CHECK(least >= milliseconds(10));
  CHECK(least < milliseconds(11));
  CHECK(most <= milliseconds(15));
  CHECK(most > milliseconds(14));
}

TEST_CASE("a tenth is lost where a tenth is to be lost") {
  Network network(2, milliseconds(200), 7);
  network.rules(0, 1).loss = 0.1;
  for (int i = 0; i < 10'000; ++i) network.send(0, 1, packet_of(100), Time(0));
  drain(network);
  const PairCounts& counts = network.counts(0, 1);
  CHECK(counts.packets_lost + counts.wire_packets == 10'000);
  CHECK(counts.packets_lost > 850);
  CHECK(counts.packets_lost < 1150);
}

TEST_CASE("commands: cuts, isolation, rates, and what makes no sense") {
  Network network(3, milliseconds(200), 1);
  Commands commands(network, {"c1", "c2", "coordinator"});
  const auto passes = [&](std::size_t from, std::size_t to) {
    network.send(from, to, packet_of(1), Time(0));
    return !drain(network).empty();
  };
  CHECK(commands.run("cut c1 c2") == "ok");
  CHECK_FALSE(passes(0, 1));
  CHECK_FALSE(passes(1, 0));
  CHECK(passes(0, 2));
  CHECK(commands.run("isolate coordinator") == "ok");
  CHECK_FALSE(passes(0, 2));
  CHECK(commands.run("restore c2 c1") == "ok");
  CHECK(passes(0, 1));
  CHECK(commands.run("rejoin coordinator") == "ok");
  CHECK(passes(2, 1));
  CHECK(commands.run("rtt 80ms") == "ok");
  CHECK(commands.run("rtt c1 c2 10ms") == "ok");
  CHECK(network.rules(0, 2).delay == milliseconds(40));
  CHECK(network.rules(1, 0).delay == milliseconds(5));
  CHECK(commands.run("stats").find(R"("from":"c1")") != std::string::npos);

  for (const char* wrong : {"", "cut c1", "cut c1 c1", "cut c1 c9", "rate c1", "rate c1 10", "rtt",
                            "rtt -5ms", "loss 100%", "loss x", "jitter 5", "stats now", "fly c1"}) {
    CAPTURE(wrong);
    CHECK(commands.run(wrong).starts_with("error: "));
  }
}

TEST_CASE("what is in the air when a link is cut does not arrive") {
  Network network(2, milliseconds(200), 1);
  network.rules(0, 1).delay = milliseconds(40);
  network.send(0, 1, packet_of(1), Time(0));
  network.rules(0, 1).is_up = false;
  CHECK(drain(network).empty());
  CHECK(network.counts(0, 1).packets_cut == 1);
}

TEST_CASE("units") {
  CHECK(parse_duration("1.5s") == milliseconds(1500));
  CHECK(parse_duration("0") == Duration(0));
  CHECK(parse_rate("200mbit") == 200e6);
  CHECK(parse_rate("none") == 0);
  CHECK(parse_fraction("0.01%") == doctest::Approx(0.0001));
  CHECK_THROWS_AS(parse_duration("5"), std::invalid_argument);
  CHECK_THROWS_AS(parse_rate("nan"), std::invalid_argument);
  CHECK_THROWS_AS(parse_rate("0"), std::invalid_argument);
  CHECK_THROWS_AS(parse_fraction("1"), std::invalid_argument);
}

}  // namespace
}  // namespace train::emulation

// The parts of a link that need no peer.
#include <random>

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/frame.hpp"
#include "collectives/wide/stream/io/hello.hpp"
#include "collectives/wide/stream/io/incoming.hpp"
#include "collectives/wide/stream/io/mail.hpp"
#include "collectives/wide/stream/io/outgoing.hpp"
#include "collectives/wide/stream/io/refusals.hpp"
#include "collectives/wide/stream/io/services.hpp"
#include "collectives/wide/stream/io/stream_count.hpp"
#include "collectives/wide/stream/io/tcp_state.hpp"
#include "collectives/wide/stream/local_address.hpp"
#include "tests/support/scratch_directory.hpp"

namespace train::wide::test {
namespace {

using namespace detail;

TEST_CASE("what a thin stream loses is sent again within a second, where the system can") {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  REQUIRE(socket >= 0);
  constexpr int rto_max_ms_option = 44;
  int before_ms = 0, after_ms = 0;
  socklen_t length = sizeof before_ms;
  const bool known = ::getsockopt(socket, IPPROTO_TCP, rto_max_ms_option, &before_ms, &length) == 0;
  Services::keep_pace(socket);
  length = sizeof after_ms;
  if (known) {
    CHECK(before_ms > 1000);
    CHECK(::getsockopt(socket, IPPROTO_TCP, rto_max_ms_option, &after_ms, &length) == 0);
    CHECK(after_ms == 1000);
  } else {
    MESSAGE("this system has no limit for that");
  }
  ::close(socket);
}

TEST_CASE("headers survive the wire, and no bytes make a header out of bounds") {
  const FrameHeader sent{FrameType::chunk, 70'000, 0x0123456789abcdef, 0xfedcba9876543210};
  FrameHeader got;
  const auto bytes = encode(sent);
  REQUIRE(decode(bytes, got).empty());
  CHECK(got.type == sent.type);
  CHECK(got.length == sent.length);
  CHECK(got.key == sent.key);
  CHECK(got.value == sent.value);

  const unsigned seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  int good = 0;
  for (int i = 0; i < 100'000; ++i) {
    auto mutated = bytes;
    // Near misses: only the last fields are random, or few bytes of the first.
    for (std::size_t at = i % 2 == 0 ? 3 : 4; at < mutated.size(); ++at) {
      if (random() % 4 != 0) mutated[at] = static_cast<std::byte>(random() % (at < 8 ? 12 : 256));
    }
    if (!decode(mutated, got).empty()) continue;
    ++good;
    REQUIRE(got.length <= chunk_bytes_max + 1);
    REQUIRE(encode(got) == mutated);
  }
  CHECK(good > 0);
  for (std::size_t at = 0; at < 3; ++at) {
    auto wrong = bytes;
    wrong[at] ^= std::byte{1};
    CHECK_FALSE(decode(wrong, got).empty());
  }
}

TEST_CASE("a hello survives the wire; cut or lengthened, it is none") {
  const Hello sent{.session = 42, .stream = 7, .from = {"aws", 3}, .to = {"lambda-2.eu", 4}};
  const auto frame = encode(sent);
  const auto body = std::span(frame).subspan(header_bytes);
  const auto got = decode_hello(42, body);
  REQUIRE(got);
  CHECK(got->session == 42);
  CHECK(got->stream == 7);
  CHECK(got->from == sent.from);
  CHECK(got->to == sent.to);
  for (std::size_t length = 0; length < body.size(); ++length) {
    CHECK_FALSE(decode_hello(42, body.first(length)));
  }
  std::vector<std::byte> longer(body.begin(), body.end());
  longer.push_back(std::byte{'x'});
  CHECK_FALSE(decode_hello(42, longer));
}

TEST_CASE("names") {
  for (const char* good : {"aws", "a", "_x", "us-east-1.a", "0"}) CHECK(valid_name(good));
  for (const char* bad : {"", ".", "-a", "a/b", "a b", "a\n", "\xc3\xa4"}) {
    CHECK_FALSE(valid_name(bad));
  }
  CHECK(valid_name(std::string(63, 'a')));
  CHECK_FALSE(valid_name(std::string(64, 'a')));
}

TEST_CASE("a chunk that comes twice is written by the later stream, and by none once it is there") {
  std::vector<std::byte> memory(chunk_bytes_min + 10);
  Incoming transfer(1, memory, chunk_bytes_min, Deadline::max());
  CHECK(transfer.has(0, chunk_bytes_min));
  CHECK(transfer.has(chunk_bytes_min, 10));
  CHECK_FALSE(transfer.has(chunk_bytes_min, 11));
  CHECK_FALSE(transfer.has(1, chunk_bytes_min));
  CHECK_FALSE(transfer.has(2 * chunk_bytes_min, 0));

  REQUIRE(transfer.claim(0, 7));
  CHECK(transfer.enter(0, 7).size() == chunk_bytes_min);
  transfer.leave(0);
  REQUIRE(transfer.claim(0, 8));
  CHECK(transfer.enter(0, 7).empty());  // it is 8's now
  CHECK_FALSE(transfer.complete(0, 7));
  CHECK(transfer.complete(0, 8));
  CHECK(transfer.progress() == chunk_bytes_min);
  CHECK_FALSE(transfer.claim(0, 9));
  CHECK(transfer.enter(0, 8).empty());
  CHECK(transfer.complete(0, 9));  // it is there, whoever asks
  CHECK_FALSE(transfer.ended());
  REQUIRE(transfer.claim(chunk_bytes_min, 9));
  CHECK(transfer.complete(chunk_bytes_min, 9));
  CHECK(transfer.ended());
  CHECK(transfer.progress() == memory.size());
}

TEST_CASE("chunks of a lost stream go over others, unless the peer has them") {
  std::vector<std::byte> memory(4 * chunk_bytes_min);
  const auto transfer = std::make_shared<Outgoing>(5, memory, SendOptions{}, Deadline::max());
  SendTable table;
  CHECK_FALSE(table.add(transfer));
  CHECK_FALSE(table.next(1));  // the peer has not asked for it
  REQUIRE(table.on_grant(100, 5, memory.size(), chunk_bytes_min).violation.empty());
  std::vector<std::uint64_t> offsets;
  for (const std::uint64_t stream : {1, 2, 1, 2}) offsets.push_back(table.next(stream)->offset);
  CHECK(offsets == std::vector<std::uint64_t>{0, 4096, 8192, 12288});
  CHECK_FALSE(table.next(1));
  table.on_have(100, 0);
  CHECK(transfer->progress() == chunk_bytes_min);
  table.on_stream_lost(1);
  REQUIRE(table.on_grant(100, 5, memory.size(), chunk_bytes_min).violation.empty());  // again
  const auto chunk = table.next(2);
  REQUIRE(chunk);
  CHECK(chunk->offset == 8192);
  CHECK_FALSE(table.next(2));
  for (const std::uint64_t offset : {4096, 8192, 8192, 77777}) table.on_have(100, offset);
  CHECK_FALSE(transfer->ended());
  table.on_have(100, 12288);
  CHECK(transfer->ended());
  CHECK(table.empty());
  // A late copy of the grant is no wish for a new transfer of that id.
  table.on_grant(100, 5, memory.size(), chunk_bytes_min);
  CHECK_FALSE(table.add(
      std::make_shared<Outgoing>(5, memory, SendOptions{.ready_bytes = 0}, Deadline::max())));
  CHECK_FALSE(table.next(2));
}

TEST_CASE("urgent transfers go first") {
  SendTable table;
  const std::vector<std::byte> memory(2 * chunk_bytes_min);
  for (const std::uint64_t id : {1, 2, 3}) {
    const SendOptions options{.is_urgent = id == 2};
    CHECK_FALSE(table.add(std::make_shared<Outgoing>(id, memory, options, Deadline::max())));
    CHECK(table.on_grant(10 + id, id, memory.size(), chunk_bytes_min).violation.empty());
  }
  std::vector<std::uint64_t> grants;
  while (const auto chunk = table.next(1)) grants.push_back(chunk->grant);
  CHECK(grants == std::vector<std::uint64_t>{12, 12, 11, 11, 13, 13});
}

TEST_CASE("a peer cannot pile up wishes") {
  SendTable table;
  std::string violation;
  std::uint64_t grants = 0;
  while (violation.empty() && grants < 1'000'000) {
    ++grants;
    violation = table.on_grant(grants, grants, 1, chunk_bytes_min).violation;
  }
  CHECK(grants == SendTable::early_grants_max + 1);
}

TEST_CASE("messages are numbered, kept, and sent again by a new carrier") {
  Mail sender, receiver;
  const std::vector<std::byte> content(10);
  for (int i = 0; i < 3; ++i) REQUIRE(sender.post(content));
  CHECK(sender.next(1)->number == 1);
  CHECK(sender.next(1)->number == 2);
  CHECK(receiver.accept(1));
  CHECK_FALSE(receiver.accept(1));
  CHECK_FALSE(receiver.accept(3));
  sender.on_received(1);
  CHECK(sender.next(2)->number == 2);
  CHECK(sender.next(2)->number == 3);
  CHECK_FALSE(sender.next(2));
  sender.on_received(3);
  CHECK_FALSE(sender.next(3));
  const std::vector<std::byte> large(Mail::kept_bytes_max);
  CHECK(sender.post(large));
  CHECK_FALSE(sender.post(content));
}

TEST_CASE("the count of streams follows what each is worth") {
  // A wire of `wire` bytes/s, of which one stream fills at most `each`.
  const auto settled = [](double wire, double each, int first, int most) {
    StreamCount count(first, most);
    for (int i = 0; i < 60; ++i) count.measure(std::min(wire, each * count.wanted()), true);
    return count.wanted();
  };
  CHECK(settled(100, 1, 4, 16) == 16);  // always faster: up to the cap
  CHECK(settled(6, 1, 4, 16) == 6);
  CHECK(settled(1, 1, 4, 16) == 4);  // one try, and back
  CHECK(settled(1, 1, 8, 4) == 4);
}

TEST_CASE("a chunk of a transfer that was forgotten is not taken for one that is there") {
  std::vector<std::byte> memory(100);
  const auto transfer = [&] {
    return std::make_shared<Incoming>(1, memory, chunk_bytes_min, Deadline::max());
  };
  ReceiveTable table;
  const auto complete = table.add(transfer());
  table.remove(complete);
  const auto given_up = table.add(transfer());
  table.give_up(given_up, "cancelled");
  CHECK(table.why_given_up(complete).empty());
  CHECK(table.why_given_up(given_up) == "cancelled");
  CHECK_FALSE(table.why_given_up(given_up + 1).empty());  // never granted
  table.clear();
  const auto next = table.add(transfer());
  CHECK_FALSE(table.why_given_up(complete).empty());
  CHECK_FALSE(table.why_given_up(given_up).empty());
  CHECK(table.why_given_up(next).empty());
}

TEST_CASE("a link that is still speeding up is left alone") {
  StreamCount count(8, 32);
  for (const double rate : {1.0, 2.0, 4.0, 8.0, 16.0, 20.0}) count.measure(rate, true);
  CHECK(count.wanted() == 8);
  count.measure(20.5, false);
  CHECK(count.wanted() == 8);  // nothing that another stream could make up for
  count.measure(20.5, true);
  CHECK(count.wanted() == 8);  // losses may have been chance
  count.measure(20.5, true);
  CHECK(count.wanted() == 12);
  count.measure(20.5, true);  // new streams may only have begun
  CHECK(count.wanted() == 12);
  count.measure(20.5, true);
  CHECK(count.wanted() == 8);
  for (int i = 0; i < 60; ++i) count.measure(20.5, true);
  CHECK(count.wanted() == 8);
  count.measure(20.5, true);
  CHECK(count.wanted() == 12);  // links change
}

TEST_CASE("buffers and losses hold a connection back, other connections' traffic does not") {
  const auto held_back = [](std::uint64_t buffered_us, std::uint64_t segments_again) {
    return TcpState{1'000'000, buffered_us, 50'000, segments_again}.is_held_back();
  };
  CHECK_FALSE(held_back(0, 0));
  CHECK_FALSE(held_back(500'000, 4));
  CHECK(held_back(980'000, 0));
  CHECK(held_back(0, 12));
  CHECK_FALSE(TcpState().is_held_back());
}

TEST_CASE("what listens by IPv4 alone is not given an address of IPv6") {
  using Addresses = std::vector<std::string>;
  CHECK(reachable_host("0.0.0.0:0", {"127.0.0.1:1"}) == "127.0.0.1");
  CHECK(reachable_host("0.0.0.0:0", {"[::1]:1", "127.0.0.1:1"}) == "127.0.0.1");
  CHECK(reachable_host("[fd00::7]:0", {"127.0.0.1:1"}) == "[fd00::7]");
  CHECK(reachable_host("gateway:7701", {}) == "gateway");
  const auto refused = [](const Addresses& towards) {
    return train::test::message_of<Error>([&] { reachable_host("0.0.0.0:0", towards); });
  };
  CHECK(refused({"[::1]:1"}).find("[::1]:1: no address of IPv4") != std::string::npos);
  CHECK(listen_anywhere({"[::1]:1", "127.0.0.1:1"}) == "0.0.0.0:0");
  CHECK(listen_anywhere({"nowhere.invalid:1"}) == "0.0.0.0:0");
  const int socket = ::socket(AF_INET6, SOCK_DGRAM, 0);
  sockaddr_in6 loopback{};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  const auto* address = reinterpret_cast<const sockaddr*>(&loopback);
  const bool has_v6 = ::bind(socket, address, sizeof loopback) == 0;
  ::close(socket);
  if (!has_v6) {
    MESSAGE("this machine has no IPv6");
    return;
  }
  CHECK(listen_anywhere({"[::1]:1"}) == "[::]:0");
  CHECK(reachable_host("[::]:0", {"[::1]:1"}) == "[::1]");
}

TEST_CASE("lines about refusals are thinned") {
  Refusals refusals;
  const auto now = Clock::now();
  int lines = 0;
  for (int i = 0; i < 100; ++i) lines += refusals.line("host", "reason", now).empty() ? 0 : 1;
  CHECK(lines == 10);
  CHECK(refusals.line("host", "reason", now + std::chrono::seconds(2)) ==
        "refused host: reason (and 90 more before)");
}

}  // namespace
}  // namespace train::wide::test

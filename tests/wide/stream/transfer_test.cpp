#include <thread>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/wide/stream/pair.hpp"

namespace train::wide::test {
namespace {

/// aws listens, lambda dials.
struct Pair {
  explicit Pair(int streams, const Certificates* certificates, std::size_t chunk_bytes = 64 << 10)
      : aws(node_options("aws", certificates, aws_events)),
        lambda(node_options("lambda", certificates, lambda_events)) {
    address = at_port(aws.listen("127.0.0.1:0"));
    to_lambda.emplace(aws.link({"lambda"}, {.addresses = {}, .chunk_bytes = chunk_bytes}));
    to_aws.emplace(lambda.link(
        {"aws"}, {.addresses = {address}, .streams = streams, .chunk_bytes = chunk_bytes}));
  }

  std::string address;
  Events aws_events, lambda_events;
  Node aws, lambda;
  std::optional<Link> to_lambda, to_aws;
};

void transfer_both_ways(Pair& pair, std::size_t bytes, std::uint64_t id) {
  CAPTURE(bytes);
  const auto there = random_bytes(bytes, 1), back = random_bytes(bytes, 2);
  std::vector<std::byte> got_there(bytes), got_back(bytes);
  const auto deadline = in_seconds(60);
  auto a = pair.to_lambda->receive(id, got_there, deadline);
  auto b = pair.to_aws->send(id, there, deadline);
  auto c = pair.to_lambda->send(id, back, deadline);
  auto d = pair.to_aws->receive(id, got_back, deadline);
  for (auto* each : {&a, &b, &c, &d}) each->wait();
  CHECK(a.progress() == bytes);
  CHECK(b.progress() == bytes);
  CHECK(got_there == there);
  CHECK(got_back == back);
}

TEST_CASE("bytes arrive whole, whatever their number and that of the streams") {
  const Certificates certificates;
  for (const int streams : {1, 3, 8}) {
    for (const bool encrypted : {true, false}) {
      CAPTURE(streams);
      CAPTURE(encrypted);
      Pair pair(streams, encrypted ? &certificates : nullptr);
      std::uint64_t id = 0;
      for (const std::size_t bytes : {0, 1, 65'535, 65'536, 65'537, 5'000'001}) {
        transfer_both_ways(pair, bytes, ++id);
      }
      CHECK(pair.to_aws->streams() <= streams);
    }
  }
}

TEST_CASE(
    "streams that a link wants no more close in the middle of its work, and nothing is lost") {
  const Certificates certificates;
  Pair pair(8, &certificates);
  std::thread fewer([&pair] {
    for (const int streams : {3, 6, 1}) {
      std::this_thread::sleep_for(std::chrono::milliseconds(150));
      const auto limit = in_seconds(20);
      pair.lambda.link({"aws"}, {.addresses = {pair.address}, .streams = streams});
      while (pair.to_aws->streams() != streams && Clock::now() < limit) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    }
  });
  for (std::uint64_t id = 1; id <= 12; ++id) transfer_both_ways(pair, 8'000'000, id);
  fewer.join();
  CHECK(pair.to_aws->streams() == 1);
  transfer_both_ways(pair, 1'000'000, 13);
  CHECK(pair.lambda_events.downs().empty());
  CHECK(pair.lambda_events.lines().empty());  // nobody is told that streams were lost
}

TEST_CASE("50 MB over 8 streams; traffic is counted") {
  const Certificates certificates;
  Pair pair(8, &certificates, 512 << 10);
  constexpr std::size_t bytes = 50'000'000;
  transfer_both_ways(pair, bytes, 1);
  const auto traffic = pair.to_aws->traffic();
  CHECK(traffic.payload_sent == bytes);
  CHECK(traffic.payload_received == bytes);
  // Frames, records of 16 KiB with 22 bytes each, and handshakes.
  CHECK(traffic.wire_sent > bytes);
  CHECK(static_cast<double>(traffic.wire_sent) < 1.005 * bytes);
}

TEST_CASE("a sender releases its memory bit by bit, and the receiver sees it come") {
  Pair pair(3, nullptr, 4 << 10);
  const auto source = random_bytes(100'000, 1);
  std::vector<std::byte> memory(source.size()), target(source.size());
  const auto deadline = in_seconds(30);
  auto received = pair.to_lambda->receive(1, target, deadline);
  auto sent = pair.to_aws->send(1, memory, deadline, {.ready_bytes = 0});
  std::size_t seen = 0;
  while (seen < source.size()) {
    const auto end = std::min(seen + 30'000, source.size());
    std::copy(source.begin() + static_cast<std::ptrdiff_t>(seen),
              source.begin() + static_cast<std::ptrdiff_t>(end),
              memory.begin() + static_cast<std::ptrdiff_t>(seen));
    sent.release(end);
    const auto whole_chunks = end == source.size() ? end : end / 4096 * 4096;
    REQUIRE(received.wait_progress(whole_chunks, deadline));
    CHECK(received.progress() == whole_chunks);  // nothing that was not released
    CHECK(std::equal(target.begin(), target.begin() + static_cast<std::ptrdiff_t>(whole_chunks),
                     source.begin()));
    seen = end;
  }
  received.wait();
  sent.work().wait();
}

TEST_CASE("a sender may come long before its receiver, and many at once") {
  Pair pair(2, nullptr);
  constexpr std::size_t count = 50;
  std::vector<std::vector<std::byte>> sources, targets(count);
  std::vector<Transfer> sent, received;
  for (unsigned i = 0; i < count; ++i) {
    sources.push_back(random_bytes(i * 7'001, i));
    targets[i].resize(sources[i].size());
  }
  for (std::size_t i = 0; i < count; ++i) {
    sent.push_back(pair.to_aws->send(i, sources[i], in_seconds(30)));
  }
  REQUIRE(pair.to_aws->wait_connected(in_seconds(10)));
  CHECK_FALSE(sent[0].done());
  for (std::size_t i = count; i-- > 0;) {
    received.push_back(pair.to_lambda->receive(i, targets[i], in_seconds(30)));
  }
  for (auto& each : received) each.wait();
  for (auto& each : sent) each.wait();
  CHECK(targets == sources);
}

TEST_CASE("both ends may dial; a closed link can be opened again") {
  Events aws_events, lambda_events;
  Node aws(node_options("aws", nullptr, aws_events));
  Node lambda(node_options("lambda", nullptr, lambda_events));
  const auto aws_address = at_port(aws.listen("127.0.0.1:0"));
  const auto lambda_address = at_port(lambda.listen("127.0.0.1:0"));
  Link to_lambda = aws.link({"lambda"}, {.addresses = {lambda_address}, .streams = 2});
  Link to_aws = lambda.link({"aws"}, {.addresses = {aws_address}, .streams = 2});
  const auto source = random_bytes(1'000'000, 1);
  std::vector<std::byte> target(source.size());
  const auto transfer = [&](std::uint64_t id) {
    auto received = to_lambda.receive(id, target, in_seconds(30));
    auto sent = to_aws.send(id, source, in_seconds(30));
    received.wait();
    sent.wait();
    CHECK(target == source);
  };
  transfer(1);
  CHECK(to_aws.streams() <= 4);
  to_aws.close("a test");
  CHECK_THROWS_WITH_AS(to_aws.post(source), doctest::Contains("a test"), Error);
  REQUIRE(aws_events.wait_downs(1));
  REQUIRE(aws_events.wait_ups(2));  // by its own dialling
  to_aws = lambda.link({"aws"}, {.addresses = {aws_address}, .streams = 2});
  transfer(1);
}

TEST_CASE("mistakes of the caller are refused") {
  Events events;
  Node node(node_options("aws", nullptr, events));
  for (const char* address : {"nowhere", "host:", ":80", "host:99999", "::1:80", "host:8x"}) {
    CAPTURE(address);
    CHECK_THROWS_AS(node.link({"lambda"}, {.addresses = {address}}), Error);
  }
  CHECK_THROWS_AS(node.link({"lambda"}, {.streams = 65}), Error);
  CHECK_THROWS_AS(node.link({"lambda"}, {.chunk_bytes = 1000}), Error);
  CHECK_THROWS_AS(node.link({"aws"}), Error);
  CHECK_THROWS_AS(node.link({"no name"}), Error);
  Link link = node.link({"lambda"});
  const std::vector<std::byte> message(Link::message_bytes_max + 1);
  CHECK_THROWS_AS(link.post(message), Error);
  for (int i = 0; i < 16; ++i) link.post(std::span(message).first(Link::message_bytes_max));
  CHECK_THROWS_WITH_AS(link.post(std::span(message).first(1)),
                       doctest::Contains("no stream is open"), Error);
  const auto port = node.listen("127.0.0.1:0");
  CHECK_THROWS_WITH_AS(node.listen(at_port(port)), doctest::Contains(at_port(port).c_str()), Error);
}

}  // namespace
}  // namespace train::wide::test

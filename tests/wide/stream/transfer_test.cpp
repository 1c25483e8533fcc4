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
    const auto address = at_port(aws.listen("127.0.0.1:0"));
    to_lambda.emplace(aws.link({"lambda"}, {.addresses = {}, .chunk_bytes = chunk_bytes}));
    to_aws.emplace(lambda.link(
        {"aws"}, {.addresses = {address}, .streams = streams, .chunk_bytes = chunk_bytes}));
  }

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

}  // namespace
}  // namespace train::wide::test

#include <cstring>
#include <thread>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/greeting.hpp"
#include "tests/wide/stream/pair.hpp"
#include "tests/wide/stream/proxy.hpp"

namespace train::wide::test {
namespace {

using train::test::message_of;

/// aws listens behind a proxy through which lambda dials. Plaintext: faults are the same.
struct Proxied {
  explicit Proxied(int streams = 4)
      : aws(std::make_unique<Node>(node_options("aws", nullptr, aws_events))),
        lambda(node_options("lambda", nullptr, lambda_events)),
        proxy(aws->listen("127.0.0.1:0")),
        to_lambda(aws->link({"lambda"}, {.chunk_bytes = 32 << 10})),
        to_aws(lambda.link(
            {"aws"},
            {.addresses = {at_port(proxy.port())}, .streams = streams, .chunk_bytes = 32 << 10})) {}

  Events aws_events, lambda_events;
  std::unique_ptr<Node> aws;
  Node lambda;
  Proxy proxy;
  Link to_lambda, to_aws;
};

void wait_streams(const Link& link, int count) {
  const auto deadline = in_seconds(10);
  while (link.streams() < count) {
    REQUIRE(Clock::now() < deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::vector<std::byte> numbered(std::uint32_t number) {
  std::vector<std::byte> message(100 + number % 1000);
  std::memcpy(message.data(), &number, sizeof number);
  return message;
}

TEST_CASE("transfers in both directions outlive the death of their streams") {
  Proxied ends;
  const unsigned seed = std::random_device()();
  CAPTURE(seed);
  ends.proxy.cut_every(400'000, seed);
  constexpr std::size_t count = 3, bytes = 1'500'000;
  std::vector<std::vector<std::byte>> sources, targets(2 * count, std::vector<std::byte>(bytes));
  std::vector<Transfer> transfers;
  for (unsigned i = 0; i < 2 * count; ++i) sources.push_back(random_bytes(bytes, seed + i));
  const auto deadline = in_seconds(60);
  for (std::size_t i = 0; i < count; ++i) {
    transfers.push_back(ends.to_aws.send(i, sources[i], deadline));
    transfers.push_back(ends.to_lambda.receive(i, targets[i], deadline));
    transfers.push_back(ends.to_lambda.send(i, sources[count + i], deadline));
    transfers.push_back(ends.to_aws.receive(i, targets[count + i], deadline));
  }
  for (auto& each : transfers) each.wait();
  CHECK(ends.proxy.cuts() >= 10);
  CHECK(targets == sources);
}

TEST_CASE("messages arrive in order and once, though their streams die") {
  Proxied ends;
  const unsigned seed = std::random_device()();
  CAPTURE(seed);
  ends.proxy.cut_every(40'000, seed);
  constexpr std::uint32_t count = 300;
  for (std::uint32_t i = 0; i < count; ++i) ends.to_aws.post(numbered(i));
  REQUIRE(ends.aws_events.wait_messages(count));
  CHECK(ends.proxy.cuts() >= 3);
  const auto messages = ends.aws_events.messages();
  REQUIRE(messages.size() == count);
  for (std::uint32_t i = 0; i < count; ++i) REQUIRE(messages[i] == numbered(i));
}

TEST_CASE("a peer that cannot be reached is an error by the deadline") {
  Events events;
  Node node(node_options("aws", nullptr, events));
  std::uint16_t closed_port = 0;
  {
    Node other(node_options("lambda", nullptr, events));
    closed_port = other.listen("127.0.0.1:0");
  }
  Link link = node.link({"lambda"}, {.addresses = {at_port(closed_port)}});
  std::vector<std::byte> memory(1000);
  auto sent = link.send(1, memory, in_seconds(0.2));
  auto received = link.receive(1, memory, in_seconds(0.2));
  CHECK_FALSE(link.wait_connected(in_seconds(0.1)));
  const auto message = message_of<Error>([&] { sent.wait(); });
  CHECK(message.find("lambda/0") != message.npos);
  CHECK(message.find("no stream is open") != message.npos);
  CHECK(message.find("refused") != message.npos);  // the kernel's word
  CHECK_THROWS_AS(received.wait(), Error);
  REQUIRE(events.wait_lines(1));
  CHECK(events.lines().size() == 1);
}

// What connects behind the first waits for ever: the system drops it.
struct BlackHole {
  explicit BlackHole(asio::io_context& loop) : acceptor(loop), first(loop) {
    const asio::ip::tcp::endpoint any(asio::ip::address_v4::loopback(), 0);
    acceptor.open(any.protocol());
    acceptor.bind(any);
    acceptor.listen(0);
    first.connect(acceptor.local_endpoint());
  }
  asio::ip::tcp::acceptor acceptor;
  asio::ip::tcp::socket first;
};

TEST_CASE("of a name's addresses those that do not answer keep nobody from the others") {
  Events events;
  Node aws(node_options("aws", nullptr, events));
  asio::io_context loop;
  const BlackHole silent(loop);
  const asio::ip::tcp::endpoint nobody(asio::ip::address_v4::loopback(), 1);
  const asio::ip::tcp::endpoint good(asio::ip::address_v4::loopback(), aws.listen("127.0.0.1:0"));
  const auto dial = [&](std::vector<asio::ip::tcp::endpoint> addresses) {
    std::string outcome;
    const detail::Hello hello{1, 0, {"lambda"}, {"aws"}};
    const auto done = [&](std::variant<detail::Introduced, detail::Denial> result) {
      const auto* denial = std::get_if<detail::Denial>(&result);
      outcome = denial != nullptr ? denial->why : "connected";
    };
    detail::dial(
        loop, std::move(addresses), nullptr, std::chrono::milliseconds(2000), hello, [](int) {},
        done);
    loop.restart();
    loop.run();
    return outcome;
  };
  CHECK(dial({silent.acceptor.local_endpoint(), nobody, good}) == "connected");
  CHECK(dial({silent.acceptor.local_endpoint(), nobody}) == "no answer within 2000 ms");
  CHECK(dial({nobody, nobody}) == "Connection refused");
  CHECK(dial({}) == "no address");
}

TEST_CASE("a peer that falls silent is an error by the deadline, and the link recovers") {
  Proxied ends;
  REQUIRE(ends.to_aws.wait_connected(in_seconds(10)));
  ends.proxy.freeze(true);
  const auto source = random_bytes(2'000'000, 1);
  std::vector<std::byte> target(source.size());
  auto sent = ends.to_aws.send(1, source, in_seconds(0.3));
  auto received = ends.to_lambda.receive(1, target, in_seconds(0.3));
  CHECK_THROWS_AS(sent.wait(), Error);
  CHECK_THROWS_AS(received.wait(), Error);
  ends.proxy.freeze(false);
  auto sent_again = ends.to_aws.send(2, source, in_seconds(30));
  auto received_again = ends.to_lambda.receive(2, target, in_seconds(30));
  sent_again.wait();
  received_again.wait();
  CHECK(target == source);
}

TEST_CASE("a peer that leaves says so, and its transfers end at once") {
  Proxied ends;
  std::vector<std::byte> memory(1000);
  auto received = ends.to_aws.receive(1, memory, in_seconds(600));
  wait_streams(ends.to_aws, 4);
  wait_streams(ends.to_lambda, 4);
  ends.aws.reset();
  const auto message = message_of<Error>([&] { received.wait(); });
  CHECK(message.find("the peer closed the link: aws/0 ends") != message.npos);
  REQUIRE(ends.lambda_events.wait_downs(1));
  CHECK_THROWS_AS(ends.to_lambda.post(memory), Error);
}

TEST_CASE("a peer that comes back as another process does not continue the old one's transfers") {
  Proxied ends;
  std::vector<std::byte> memory(1000);
  auto received = ends.to_aws.receive(1, memory, in_seconds(600));
  ends.to_aws.post(memory);
  REQUIRE(ends.aws_events.wait_messages(1));
  wait_streams(ends.to_aws, 4);  // none is on its way to the old process any more
  ends.proxy.refuse(true);
  ends.proxy.cut_all();
  REQUIRE(ends.lambda_events.wait_downs(1));
  Events events;
  Node again(node_options("aws", nullptr, events));
  Link to_lambda = again.link({"lambda"});
  ends.proxy.retarget(again.listen("127.0.0.1:0"));
  ends.proxy.refuse(false);
  const auto message = message_of<Error>([&] { received.wait(); });
  CHECK(message.find("another process") != message.npos);

  const auto source = random_bytes(100'000, 1);
  std::vector<std::byte> target(source.size());
  auto sent = to_lambda.send(1, source, in_seconds(30));
  auto received_again = ends.to_aws.receive(1, target, in_seconds(30));
  received_again.wait();
  sent.wait();
  CHECK(target == source);
  ends.to_aws.post(numbered(5));
  REQUIRE(events.wait_messages(1));
  CHECK(events.messages().front() == numbered(5));
}

/// A node that dials another one, as a process of its own would.
struct Dialler {
  Dialler(const char* name, std::uint16_t port)
      : node((std::this_thread::sleep_for(std::chrono::milliseconds(2)),  // it begins later
              node_options(name, nullptr, events))),
        link(node.link({"aws"}, {.addresses = {at_port(port)}, .streams = 1})) {}

  Events events;
  Node node;
  Link link;
};

TEST_CASE("of two processes of one name the later one stays, and the earlier one is told") {
  Events aws_events;
  Node aws(node_options("aws", nullptr, aws_events));
  const auto port = aws.listen("127.0.0.1:0");
  Dialler first("lambda", port);
  REQUIRE(aws_events.wait_ups(1));
  Dialler second("lambda", port);
  REQUIRE(first.events.wait_replacements(2));
  second.link.post(numbered(7));
  REQUIRE(aws_events.wait_messages(1));
  CHECK(aws_events.messages().front() == numbered(7));
  CHECK(second.events.replacements().empty());
  CHECK(second.events.downs().empty());
  CHECK(aws_events.ups().size() == 2);
  CHECK(aws_events.downs().size() == 1);
}

TEST_CASE(
    "a peer that was forgotten while another process of its name came and went is heard again") {
  Events aws_events;
  Node aws(node_options("aws", nullptr, aws_events));
  const auto port = aws.listen("127.0.0.1:0");
  Dialler first("lambda", port);
  first.link.post(numbered(1));
  first.link.post(numbered(2));
  REQUIRE(aws_events.wait_messages(2));
  std::vector<std::byte> memory(1000);
  auto stale = first.link.receive(1, memory, in_seconds(600));
  {
    Dialler second("lambda", port);
    REQUIRE(first.events.wait_replacements(1));
  }
  // It comes back, and knows that nothing goes on.
  CHECK_THROWS_AS(stale.wait(), Error);
  wait_streams(first.link, 1);
  first.link.post(numbered(3));
  REQUIRE(aws_events.wait_messages(3));
  CHECK(aws_events.messages().back() == numbered(3));
  const auto source = random_bytes(100'000, 1);
  std::vector<std::byte> target(source.size());
  auto sent = first.link.send(2, source, in_seconds(30));
  auto received = aws.link({"lambda"}).receive(2, target, in_seconds(30));
  received.wait();
  sent.wait();
  CHECK(target == source);
}

TEST_CASE("either end cancels; the other is told, and the rest goes on") {
  Proxied ends;
  const auto source = random_bytes(8'000'000, 1);
  std::vector<std::byte> target(source.size()), other(source.size());
  const auto deadline = in_seconds(60);
  SUBCASE("the receiver") {
    auto sent = ends.to_aws.send(1, source, deadline);
    auto received = ends.to_lambda.receive(1, target, deadline);
    REQUIRE(received.wait_progress(100'000, deadline));
    received.cancel();
    const auto before = target;
    CHECK_THROWS_WITH_AS(received.wait(), doctest::Contains("cancelled by aws/0"), Error);
    CHECK_THROWS_WITH_AS(sent.wait(), doctest::Contains("cancelled by aws/0"), Error);
    CHECK(target == before);  // nobody wrote after cancel() had returned
  }
  SUBCASE("the sender") {
    auto sent = ends.to_aws.send(1, source, deadline);
    auto received = ends.to_lambda.receive(1, target, deadline);
    REQUIRE(received.wait_progress(100'000, deadline));
    sent.cancel();
    CHECK_THROWS_WITH_AS(sent.wait(), doctest::Contains("cancelled by lambda/0"), Error);
    CHECK_THROWS_WITH_AS(received.wait(), doctest::Contains("cancelled by lambda/0"), Error);
  }
  SUBCASE("the sender, before the receiver came") {
    auto sent = ends.to_aws.send(1, source, deadline);
    sent.cancel();
    auto received = ends.to_lambda.receive(1, target, deadline);
    CHECK_THROWS_WITH_AS(received.wait(), doctest::Contains("cancelled by lambda/0"), Error);
  }
  auto sent = ends.to_aws.send(2, source, deadline);
  auto received = ends.to_lambda.receive(2, other, deadline);
  received.wait();
  sent.wait();
  sent.cancel();  // too late to matter
  CHECK(other == source);
}

TEST_CASE("ends that disagree about the size both hear of it") {
  Proxied ends;
  std::vector<std::byte> small(1000), large(2000);
  auto sent = ends.to_aws.send(1, small, in_seconds(30));
  auto received = ends.to_lambda.receive(1, large, in_seconds(30));
  CHECK_THROWS_WITH_AS(sent.wait(), doctest::Contains("1000"), Error);
  CHECK_THROWS_WITH_AS(received.wait(), doctest::Contains("2000"), Error);
}

TEST_CASE("a slow stream gets fewer chunks") {
  Proxied ends(1);  // the first connection alone is slow
  ends.proxy.slow_first(1'000'000);
  REQUIRE(ends.to_aws.wait_connected(in_seconds(10)));
  Link to_aws = ends.lambda.link(
      {"aws"}, {.addresses = {at_port(ends.proxy.port())}, .streams = 4, .chunk_bytes = 32 << 10});
  wait_streams(to_aws, 4);
  const auto source = random_bytes(20'000'000, 1);
  std::vector<std::byte> target(source.size());
  auto sent = to_aws.send(1, source, in_seconds(60));
  auto received = ends.to_lambda.receive(1, target, in_seconds(60));
  sent.wait();
  received.wait();
  CHECK(target == source);
  CHECK(ends.proxy.forwarded_slowly() * 8 < ends.proxy.forwarded());
}

}  // namespace
}  // namespace train::wide::test

// A cluster's client against a coordinator that says what the test wants.
#include "collectives/wide/service/member_client.hpp"

#include <deque>
#include <limits>

#include <doctest/doctest.h>

#include "collectives/wide/protocol/wire.hpp"
#include "collectives/wide/service/numbered.hpp"
#include "tests/wide/stream/pair.hpp"

namespace train::wide::test {
namespace {

/// A node that is called "coordinator", what it was told, and the client of cluster "aws".
class Scripted {
 public:
  explicit Scripted(std::chrono::milliseconds hang_min = std::chrono::minutes(10))
      : hang_min_(hang_min),
        coordinator_(coordinator_options()),
        port_(coordinator_.listen("127.0.0.1:0")),
        client(client_options()),
        node_(aws_options()) {
    client.start(node_);
  }
  // Before the node, which it uses.
  ~Scripted() { client.stop(); }

  /// The next message of this kind within 10 s; others are dropped.
  template <typename T>
  std::optional<T> hear() {
    std::unique_lock lock(mutex_);
    const Deadline deadline = in_seconds(10);
    for (;;) {
      while (!heard_.empty()) {
        const auto [number, message] = std::move(heard_.front());
        heard_.pop_front();
        number_ = number;
        if (const T* wanted = std::get_if<T>(&message)) return *wanted;
      }
      if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) return std::nullopt;
    }
  }
  void say(const Message& message) { post(number_, encode(message)); }
  void post(std::uint64_t number, std::span<const std::byte> content) {
    coordinator_.link({"aws"}).post(with_number(number, content));
  }
  /// Of the connection on which something was heard last.
  std::uint64_t number() const { return number_; }

  /// The cluster is in the epoch since then, 0: not. Returns when the client knows it, and all that
  /// was said before.
  void tell_epoch(std::uint64_t epoch, std::uint64_t since) {
    say(Directory{{epoch, 1, 1}, {{{"aws", 1}, {}, since, 0}}});
    ++directories_;
    const Deadline deadline = in_seconds(10);
    while (client.roster().version < directories_ && Clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    REQUIRE(client.roster().version == directories_);
  }
  template <typename T>
  bool next_is() {
    const auto order = client.next(in_seconds(10));
    return order && std::holds_alternative<T>(*order);
  }

  std::atomic<bool> answers{true};  // heartbeats

 private:
  NodeOptions coordinator_options() {
    NodeOptions options = node_options("coordinator", nullptr, events_);
    options.events.on_message = [this](const PeerName&, const std::vector<std::byte>& bytes) {
      const auto numbered = split_number(bytes);
      const Decoded decoded = decode(numbered->content);
      if (const auto* beat = std::get_if<Heartbeat>(&*decoded.message); beat && answers) {
        post(numbered->number, encode(Beat{beat->sequence}));
      }
      const std::lock_guard lock(mutex_);
      heard_.emplace_back(numbered->number, *decoded.message);
      changed_.notify_all();
    };
    return options;
  }
  MemberClientOptions client_options() const {
    MemberClientOptions options;
    options.member.self = {"aws", 1};
    options.member.lease_samples = 8;
    options.member.heartbeat = {50, 500, 1'000, 6};
    options.coordinator = {at_port(port_)};
    options.hang_min = hang_min_;
    return options;
  }
  NodeOptions aws_options() {
    NodeOptions options = node_options("aws", nullptr, events_);
    options.events.on_up = [this](const PeerName&) { client.on_up(); };
    options.events.on_down = [this](const PeerName&, const auto& why) { client.on_down(why); };
    options.events.on_message = [this](const PeerName&, std::vector<std::byte> message) {
      client.on_message(std::move(message));
    };
    return options;
  }

  const std::chrono::milliseconds hang_min_;
  Events events_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<std::uint64_t, Message>> heard_;
  std::uint64_t number_ = 0, directories_ = 0;
  Node coordinator_;
  std::uint16_t port_;

 public:
  MemberClient client;

 private:
  Node node_;
};

TEST_CASE("nothing is taken for parameters that are to be discarded") {
  Scripted script;
  REQUIRE(script.hear<Hello>());
  script.tell_epoch(1, 1);
  CHECK(script.client.in_epoch());
  CHECK(script.next_is<BeginRound>());
  CHECK(script.client.take(4).empty());
  REQUIRE(script.hear<LeaseRequest>());
  script.say(Lease{1, RangeSet({0, 8}), false});
  CHECK(script.next_is<LeaseChanged>());
  CHECK(script.client.take(4) == RangeSet({0, 4}));
  // Out, in again, and with a new lease, before whoever trains looks up.
  script.tell_epoch(2, 0);
  script.tell_epoch(3, 3);
  script.say(Lease{3, RangeSet({100, 108}), false});
  script.tell_epoch(3, 3);
  CHECK(script.client.in_epoch());
  CHECK(script.client.take(4).empty());
  script.client.round_finished(4, 1);
  CHECK(script.next_is<Discard>());
  CHECK(script.next_is<BeginRound>());
  CHECK(script.client.take(4) == RangeSet({100, 104}));
  script.client.round_finished(4, 1);
  const auto ready = script.hear<Ready>();  // the first: the void one was not said
  REQUIRE(ready);
  CHECK(ready->used == RangeSet({100, 104}));
}

TEST_CASE("what belongs to another connection is dropped") {
  Scripted script;
  REQUIRE(script.hear<Hello>());
  script.post(script.number() - 1, encode(Refused{"of old"}));
  script.post(script.number() + 1, encode(Refused{"of nobody"}));
  script.tell_epoch(1, 1);
  CHECK(script.next_is<BeginRound>());
  CHECK_FALSE(script.client.next(Clock::now()));
  CHECK(script.client.connected());
}

TEST_CASE("a connection that was closed, or broken by nonsense, is opened anew") {
  Scripted script;
  REQUIRE(script.hear<Hello>());
  const std::uint64_t first = script.number();
  SUBCASE("closed") {
    script.post(first, {});
  }
  SUBCASE("nonsense") {
    script.post(first, random_bytes(40, 1));
  }
  REQUIRE(script.hear<Hello>());
  CHECK(script.number() > first);
  script.tell_epoch(1, 1);
  CHECK(script.client.connected());
}

TEST_CASE("a coordinator that is silent is dialled again") {
  Scripted script;
  REQUIRE(script.hear<Hello>());
  const std::uint64_t first = script.number();
  CHECK(script.client.disconnected_since());
  script.tell_epoch(1, 1);
  CHECK(script.client.connected());
  CHECK_FALSE(script.client.disconnected_since());
  script.answers = false;
  REQUIRE(script.hear<Hello>());
  CHECK(script.number() > first);
  CHECK_FALSE(script.client.connected());
  REQUIRE(script.client.disconnected_since());
  CHECK(*script.client.disconnected_since() <= Clock::now());
}

TEST_CASE("a loop that may hang for longer than time is counted is not watched for less") {
  Scripted script(std::chrono::seconds(std::numeric_limits<int>::max()));
  REQUIRE(script.hear<Hello>());
  script.tell_epoch(1, 1);
  CHECK(script.next_is<BeginRound>());
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(script.client.connected());
}

TEST_CASE("a cluster whose loop hangs does not beat") {
  Scripted script(std::chrono::milliseconds(300));
  REQUIRE(script.hear<Hello>());
  const std::uint64_t first = script.number();
  script.tell_epoch(1, 1);
  CHECK(script.next_is<BeginRound>());
  // It waits for orders: that is life.
  CHECK_FALSE(script.client.next(Clock::now() + std::chrono::milliseconds(1'500)));
  CHECK(script.client.connected());
  // It waits for something else.
  const Deadline deadline = in_seconds(30);
  while (script.client.connected() && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK_FALSE(script.client.connected());
  std::this_thread::sleep_for(std::chrono::milliseconds(1'000));
  CHECK_FALSE(script.client.connected());
  // It goes on.
  CHECK(script.client.take(1).empty());
  REQUIRE(script.hear<Hello>());
  CHECK(script.number() > first);
  script.tell_epoch(1, 1);
  CHECK(script.client.connected());
}

TEST_CASE("stop waits until what was said has arrived") {
  Scripted script;
  REQUIRE(script.hear<Hello>());
  script.tell_epoch(1, 1);
  for (std::uint64_t i = 1; i <= 100; ++i) script.client.leave(i);
  script.client.stop();
  std::optional<Leave> last;
  while (!last || last->notice_ms < 100) {
    last = script.hear<Leave>();
    REQUIRE(last);
  }
  CHECK(script.client.take(1).empty());
  CHECK(script.next_is<BeginRound>());              // what was there is there
  CHECK_FALSE(script.client.next(in_seconds(60)));  // at once
}

TEST_CASE("who was told to stop does not come back") {
  Scripted script;
  REQUIRE(script.hear<Hello>());
  script.tell_epoch(1, 1);
  script.say(Refused{"for a reason"});
  CHECK(script.next_is<BeginRound>());
  CHECK(script.next_is<Stop>());
  script.post(script.number(), {});
  const auto first = script.number();
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  script.client.leave(1);  // has nobody to go to
  CHECK(script.client.take(1).empty());
  CHECK_FALSE(script.client.connected());
  CHECK(script.number() == first);
}

}  // namespace
}  // namespace train::wide::test

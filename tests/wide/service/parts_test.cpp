// What joins links to the protocol, without links: numbers of connections, and orders that wait.
#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "collectives/wide/service/event_log.hpp"
#include "collectives/wide/service/numbered.hpp"
#include "collectives/wide/service/order_queue.hpp"
#include "collectives/wide/service/sessions.hpp"
#include "tests/support/scratch_directory.hpp"

namespace train::wide::test {
namespace {

TEST_CASE("numbers come back from messages") {
  const std::vector<std::byte> content{std::byte{7}, std::byte{8}};
  const auto message = with_number(0x0102030405060708, content);
  CHECK(message.size() == 10);
  CHECK(message[0] == std::byte{8});
  const auto split = split_number(message);
  REQUIRE(split);
  CHECK(split->number == 0x0102030405060708);
  CHECK(std::vector<std::byte>(split->content.begin(), split->content.end()) == content);
  CHECK(split_number(with_number(9, {}))->content.empty());
  CHECK_FALSE(split_number(std::span(message).first(7)));
}

TEST_CASE("a peer has one session at a time, and each number one of its own") {
  Sessions sessions;
  const PeerName aws{"aws"}, lambda{"lambda"};
  const auto first = sessions.arrived(aws, 5);
  CHECK(first.session != 0);
  CHECK(first.ended == 0);
  CHECK(sessions.arrived(aws, 5).session == first.session);
  const auto other = sessions.arrived(lambda, 5);
  CHECK(other.session != first.session);
  CHECK(other.ended == 0);
  const auto second = sessions.arrived(aws, 6);
  CHECK(second.ended == first.session);
  CHECK(second.session != first.session);
  CHECK_FALSE(sessions.place(first.session));
  REQUIRE(sessions.place(second.session));
  CHECK(sessions.place(second.session)->peer == aws);
  CHECK(sessions.place(second.session)->number == 6);
  CHECK(sessions.open() == 2);
}

TEST_CASE("what arrives on an ended session is answered once, and dropped") {
  Sessions sessions;
  const PeerName aws{"aws"};
  const SessionId first = sessions.arrived(aws, 5).session;
  SUBCASE("its link was down, which the peer need not have noticed") {
    CHECK(sessions.lost(aws) == first);
    CHECK(sessions.lost(aws) == 0);
    const auto again = sessions.arrived(aws, 5);
    CHECK(again.session == 0);
    CHECK(again.ended == 0);
    CHECK(again.say_closed);
  }
  SUBCASE("it was closed, and the peer was told") {
    sessions.close(first);
  }
  const auto again = sessions.arrived(aws, 5);
  CHECK(again.session == 0);
  CHECK_FALSE(again.say_closed);
  CHECK(sessions.open() == 0);
  const auto next = sessions.arrived(aws, 6);
  CHECK(next.session > first);
  CHECK(next.ended == 0);
  // Numbers need not grow: a cluster's clock may have gone back before it started again.
  CHECK(sessions.arrived(aws, 2).ended == next.session);
}

template <typename Order>
bool next_is(OrderQueue& orders) {
  const auto order = orders.pop();
  return order && std::holds_alternative<Order>(*order);
}

TEST_CASE("orders come in the order they were given") {
  OrderQueue orders;
  CHECK_FALSE(orders.pop());
  orders.push(BeginRound{1});
  orders.push(RunExchange{});
  orders.push(ApplyExchange{});
  orders.push(BeginRound{2});
  CHECK(next_is<BeginRound>(orders));
  CHECK(next_is<RunExchange>(orders));
  CHECK(next_is<ApplyExchange>(orders));
  CHECK(next_is<BeginRound>(orders));
  CHECK_FALSE(orders.pop());
}

TEST_CASE("training is void while an unseen order says so") {
  OrderQueue orders;
  CHECK_FALSE(orders.voids_training());
  orders.push(BeginRound{3});
  orders.push(LeaseChanged{});
  CHECK_FALSE(orders.voids_training());
  orders.push(ApplyExchange{});
  orders.push(Discard{"out"});
  orders.push(BeginRound{4});
  orders.push(LeaseChanged{true});
  CHECK(orders.voids_training());
  CHECK(next_is<ApplyExchange>(orders));  // the first BeginRound has no more point
  CHECK(orders.voids_training());
  CHECK(next_is<Discard>(orders));
  CHECK_FALSE(orders.voids_training());
  CHECK(next_is<BeginRound>(orders));
  CHECK(next_is<LeaseChanged>(orders));
  orders.push(Stop{});
  CHECK(orders.voids_training());
}

TEST_CASE("what became pointless before anyone saw it is not done") {
  OrderQueue orders;
  Start start;
  start.id = {1, 2, 3};
  orders.push(RunExchange{start});
  orders.push(StopExchange{{1, 2, 3}});
  CHECK_FALSE(orders.pop());
  orders.push(RunExchange{start});
  CHECK(next_is<RunExchange>(orders));
  orders.push(StopExchange{{1, 2, 3}});  // it runs by now
  CHECK(next_is<StopExchange>(orders));

  orders.push(FetchState{{{{1, 1, 1}, 0, {}}, {}}});
  CHECK(orders.voids_fetch());
  orders.push(FetchState{{{{2, 2, 2}, 0, {}}, {}}});
  const auto fetch = orders.pop();
  REQUIRE(fetch);
  CHECK(std::get<FetchState>(*fetch).fetch.state.id.round == 2);
  CHECK_FALSE(orders.pop());
  CHECK_FALSE(orders.voids_fetch());
  orders.push(FetchState{});
  orders.push(StopFetch{});
  CHECK(orders.voids_fetch());
  CHECK(next_is<StopFetch>(orders));

  orders.push(FinishRound{7});
  orders.round_finished();
  orders.push(LeaseChanged{false});
  orders.push(LeaseChanged{true});
  const auto lease = orders.pop();
  REQUIRE(lease);
  CHECK(std::get<LeaseChanged>(*lease).exhausted);
  CHECK_FALSE(orders.pop());
}

TEST_CASE("events that cannot be written are said once, and stop nothing") {
  const train::test::ScratchDirectory scratch;
  CHECK_THROWS_WITH_AS(EventLog(scratch / "no/where", nullptr), doctest::Contains("no/where"),
                       Error);
  std::vector<std::string> said;
  EventLog full("/dev/full", [&](const std::string& line) { said.push_back(line); });
  full.cluster("connected", "aws");
  full.cluster("connected", "gcp");
  REQUIRE(said.size() == 1);
  CHECK(said.front().find("/dev/full: No space left") != std::string::npos);
}

}  // namespace
}  // namespace train::wide::test

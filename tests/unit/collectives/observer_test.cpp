#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "collectives/local/world.hpp"

namespace train {
namespace {

void sum(Communicator& ranks, std::vector<float>& values) {
  ranks.all_reduce(std::span(values), std::span(values), ReduceOp::sum).wait();
}

}  // namespace

TEST_CASE("the observer sees each collective before its caller goes on, in order") {
  local::run(2, [](Communicator& world) {
    std::vector<CallRecord> seen;
    world.observe([&](const CallRecord& record) { seen.push_back(record); });
    const auto rank = static_cast<std::size_t>(world.rank());
    const std::vector<std::size_t> counts{1, 3};
    std::vector<float> four(4, 1.0f), block(counts[rank]), ten(10), out(10);
    std::vector<std::int64_t> root(5);
    const std::vector<std::size_t> even{5, 5};
    sum(world, four);
    CHECK(seen.size() == 1);
    world.reduce_scatter(std::span(four), std::span(block), counts, ReduceOp::max).wait();
    world.all_gather(std::span(block), std::span(four), counts).wait();
    world.broadcast(std::span(root), 1).wait();
    world.all_to_all(std::span(ten), even, std::span(out), even).wait();
    world.barrier().wait();
    static_cast<void>(world.split(0, 0, "part"));

    const std::vector<std::string> names{"all_reduce", "reduce_scatter", "all_gather", "broadcast",
                                         "all_to_all", "barrier",        "split"};
    const std::vector<std::size_t> elements{4, 4, 4, 5, 10, 0, 0};
    REQUIRE(seen.size() == names.size());
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      CAPTURE(i);
      CHECK(seen[i].group == "world");
      CHECK(seen[i].operation == names[i]);
      CHECK(seen[i].count == elements[i]);
      CHECK(seen[i].sequence == i);
      CHECK(seen[i].called <= seen[i].began);
      CHECK(seen[i].began <= seen[i].ended);
      if (i > 0) CHECK(seen[i - 1].ended <= seen[i].began);
      bytes += seen[i].bytes_sent;
    }
    CHECK(seen[2].type == DataType::f32);
    CHECK(seen[3].type == DataType::i64);
    CHECK(bytes == world.traffic().total().bytes_sent);
  });
}

TEST_CASE("parts do not inherit the observer, messages are not observed, a new one replaces it") {
  local::run(2, [](Communicator& world) {
    int first = 0, second = 0;
    world.observe([&](const CallRecord&) { ++first; });
    const auto part = world.split(0, world.rank(), "part");
    part->barrier().wait();
    std::vector<float> value{1.0f}, received(1);
    auto sent = world.send(std::span(value), 1 - world.rank(), 0);
    world.receive(std::span(received), 1 - world.rank(), 0).wait();
    sent.wait();
    CHECK(first == 1);
    world.observe([&](const CallRecord&) { ++second; });
    world.barrier().wait();
    world.observe({});
    world.barrier().wait();
    CHECK(first == 1);
    CHECK(second == 1);
  });
}

TEST_CASE("a call that fails is not observed") {
  std::atomic<int> seen = 0;
  CHECK_THROWS_AS(local::run(2,
                             [&](Communicator& world) {
                               world.observe([&](const CallRecord&) { ++seen; });
                               std::vector<float> values(world.rank() == 0 ? 3 : 4);
                               sum(world, values);
                             }),
                  Error);
  CHECK(seen == 0);
}

TEST_CASE("after observe({}) the observer has gone, whatever is under way") {
  local::run(2, [](Communicator& world) {
    std::atomic<bool> enough = false;
    std::thread watcher([&] {
      while (!enough) {
        // Dies with each turn: a call after observe({}) would find no value in it.
        auto state = std::make_unique<std::optional<int>>(0);
        world.observe([&state = *state](const CallRecord&) { ++state.value(); });
        std::this_thread::yield();
        world.observe({});
        state->reset();
      }
    });
    std::vector<float> values(10);
    for (int call = 0; call < 2000; ++call) sum(world, values);
    enough = true;
    watcher.join();
    CHECK(world.traffic().all_reduce.calls == 2000);
  });
}

}  // namespace train

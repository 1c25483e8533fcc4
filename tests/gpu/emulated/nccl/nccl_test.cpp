// What only collectives of GPUs owe: order among streams, and routing by memory.
#include <chrono>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "tests/gpu/emulated/nccl/faults.hpp"
#include "tests/gpu/emulated/nccl/rank.hpp"

namespace train {

using namespace std::chrono_literals;

TEST_CASE("a collective starts behind the compute stream, and wait() does not hold the host") {
  local::run(3, [](Communicator& host) {
    Rank rank(host);
    Gate gate;
    gate.close_on(rank.stream());
    const auto buffer = rank.floats(1000, 1.0f);  // behind the gate
    auto work = rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum);
    work.wait();  // though nothing can have moved
    CHECK_FALSE(work.done());
    CHECK_FALSE(work.wait_until(Clock::now() + 5ms));
    gate.open = true;
    CHECK(rank.read(buffer) == std::vector<float>(1000, 3.0f));
    CHECK(work.wait_until(Clock::now() + 30s));
    CHECK(rank.ranks().traffic().all_reduce.calls == 1);
  });
  CHECK(emulated::nccl_live() == 0);
}

TEST_CASE("host buffers go to the host's group; a call of both kinds of memory is refused") {
  local::run(2, [](Communicator& host) {
    Rank rank(host);
    std::vector<float> values(10, 1.0f);
    rank.ranks().all_reduce(std::span(values), std::span(values), ReduceOp::sum).wait();
    CHECK(values[9] == 2.0f);
    CHECK(emulated::nccl_live() == 0);  // no data of a GPU yet
    const auto buffer = rank.floats(10, 1.0f);
    const auto text =
        error_of([&] { rank.ranks().all_reduce(std::span(values), buffer, ReduceOp::sum).wait(); });
    CAPTURE(text);
    CHECK(says(text, "send lies in the host's memory and receive in the GPU's"));
    rank.ranks().barrier().wait();
    if (host.rank() == 0) {
      auto work = rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum);
      CHECK(says(error_of([&] { work.wait(); }), "count 10) on the device"));
    } else {
      auto work = rank.ranks().all_reduce(std::span(values), std::span(values), ReduceOp::sum);
      CHECK(says(error_of([&] { work.wait(); }), "rank 1 called all_reduce(sum, f32, count 10)"));
    }
  });
}

TEST_CASE("an NCCL that is too old is refused, with both versions") {
  for (const auto& [version, words] : {std::pair(21805, "2.18.5"), std::pair(2708, "2.7.8")}) {
    emulated::nccl_version(version);
    local::run(2, [words = words](Communicator& host) {
      const auto text = error_of([&] { Rank rank(host); });
      CAPTURE(text);
      CHECK(says(text, "need NCCL 2.19.1"));
      CHECK(says(text, words));
    });
  }
  emulated::nccl_version(21901);
  local::run(1, [](Communicator& host) { Rank rank(host); });
}

TEST_CASE("a call from a thread of its own opens no other GPU") {
  local::run(2, [](Communicator& host) {
    Rank rank(host);
    int device = -1;
    std::thread([&] {
      std::vector<float> values(10, 1.0f);
      auto work = rank.ranks().all_reduce(std::span(values), std::span(values), ReduceOp::sum);
      check_cuda(cudaGetDevice(&device), "cudaGetDevice");
      work.wait();
    }).join();
    CHECK(device == host.rank());
  });
}

TEST_CASE("a received message reaches the device, whenever the stream comes to it") {
  local::run(2, [](Communicator& host) {
    Rank rank(host);
    constexpr std::size_t count = 300000;
    Gate gate;
    if (host.rank() == 0) {
      const auto first = rank.floats(count, 0.0f), second = rank.floats(10, 0.0f);
      gate.close_on(rank.stream());
      rank.ranks().receive(first, 1, 7).wait();
      rank.ranks().receive(second, 1, 7).wait();
      const std::vector<float> other(count,
                                     -1.0f);  // where the first message's bytes may have lain
      gate.open = true;
      CHECK(rank.read(first) == std::vector<float>(count, 3.0f));
      CHECK(rank.read(second) == std::vector<float>(10, 4.0f));
      CHECK(other.back() == -1.0f);
    } else {
      rank.ranks().send(rank.floats(count, 3.0f), 0, 7).wait();
      rank.ranks().send(rank.floats(10, 4.0f), 0, 7).wait();
    }
  });
}

TEST_CASE("a send behind work that hangs ends at its deadline") {
  local::run(2, [](Communicator& host) {
    Rank rank(host);
    Gate gate;
    const auto buffer = rank.floats(100, 1.0f);
    if (host.rank() == 0) {
      gate.close_on(rank.stream());
      rank.ranks().set_timeout(100ms);
      const auto text = error_of([&] { rank.ranks().send(buffer, 1, 3).wait(); });
      CAPTURE(text);
      CHECK(says(text, "send of 400 bytes on rank 0"));
      gate.open = true;
    }
  });
}

TEST_CASE("an observed call is over when its wait returns, and was as long as the GPU took") {
  local::run(2, [](Communicator& host) {
    Rank rank(host);
    std::vector<CallRecord> records;
    rank.ranks().observe([&](const CallRecord& record) { records.push_back(record); });
    const auto buffer = rank.floats(1000, 1.0f);
    rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum).wait();
    REQUIRE(records.size() == 1);
    CHECK(records[0].bytes_sent == 4000);
    CHECK(records[0].began <= records[0].ended);
    rank.ranks().observe({});
  });
}

TEST_CASE("groups of one rank work side by side") {
  local::run(4, [](Communicator& host) {
    Rank rank(host);
    const auto rows = rank.ranks().split(host.rank() / 2, host.rank(), "rows");
    const auto columns = rank.ranks().split(host.rank() % 2, host.rank(), "columns");
    const auto a = rank.floats(5000, 1.0f), b = rank.floats(5000, 1.0f);
    std::vector<Work> works;
    for (int i = 0; i < 10; ++i) {
      works.push_back(columns->all_reduce(b, b, ReduceOp::sum));
      rows->all_reduce(a, a, ReduceOp::sum).wait();
    }
    for (auto& work : works) work.wait();
    CHECK(rank.read(a) == std::vector<float>(5000, 1024.0f));
    CHECK(rank.read(b) == std::vector<float>(5000, 1024.0f));
  });
}

}  // namespace train

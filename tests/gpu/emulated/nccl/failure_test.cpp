// Data under way between GPUs that is lost ends every call on every rank.
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "collectives/nccl/watch.hpp"
#include "tests/gpu/emulated/nccl/faults.hpp"
#include "tests/gpu/emulated/nccl/rank.hpp"

namespace train {

using namespace std::chrono_literals;

TEST_CASE("a rank whose GPU takes no part ends the call on all ranks at its deadline") {
  local::run(3, [](Communicator& host) {
    Rank rank(host);
    const auto buffer = rank.floats(100, 1.0f);
    rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum).wait();
    rank.read(buffer);
    host.barrier().wait();
    if (host.rank() == 2) emulated::nccl_stall(2, true);
    host.barrier().wait();
    const auto other = rank.ranks().split(0, host.rank(), "other");
    rank.ranks().set_timeout(2s);
    const auto began = Clock::now();
    auto work = rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum);
    work.wait();
    rank.read(buffer);  // ends with the abort
    CHECK(Clock::now() - began < 20s);
    const auto text = error_of([&] { rank.ranks().barrier().wait(); });
    CAPTURE(text);
    CHECK(says(text, "stalled on rank"));
    CHECK(says(text, "all_reduce(sum, f32, count 100) on the device"));
    // What was computed since is not to be used, by no group.
    CHECK(says(error_of([&] { other->barrier().wait(); }), "was lost"));
    host.barrier().wait();
    if (host.rank() == 2) emulated::nccl_stall(2, false);
  });
  CHECK(emulated::nccl_live() == 0);
}

TEST_CASE("work of a compute stream that hangs is told from a peer's") {
  local::run(2, [](Communicator& host) {
    Rank rank(host);
    Gate gate;
    const auto buffer = rank.floats(100, 1.0f);
    rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum).wait();
    rank.ranks().barrier().wait();
    // The one that hangs is the first to say so.
    rank.ranks().set_timeout(host.rank() == 1 ? 2s : 40s);
    host.barrier().wait();
    if (host.rank() == 1) gate.close_on(rank.stream());
    auto work = rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum);
    const auto text = error_of([&] { static_cast<void>(work.wait_until(Clock::now() + 20s)); });
    CAPTURE(text);
    CHECK(says(text, "stalled on rank 1 of 2"));
    CHECK(says(text, "This rank's GPU has not come to it"));
    host.barrier().wait();  // else the GPU may come to it before it is told not to
    gate.open = true;
  });
}

TEST_CASE("what NCCL finds out about a peer ends the call long before its deadline") {
  local::run(2, [](Communicator& host) {
    Rank rank(host);
    const auto buffer = rank.floats(100, 1.0f);
    rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum).wait();
    rank.read(buffer);
    host.barrier().wait();
    if (host.rank() == 1) emulated::nccl_stall(1, true);
    host.barrier().wait();
    auto work = rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum);
    work.wait();
    host.barrier().wait();  // both have launched it
    if (host.rank() == 0) emulated::nccl_lose_peer(0);
    const auto began = Clock::now();
    const auto text = error_of([&] { static_cast<void>(work.wait_until(began + 30s)); });
    CAPTURE(text);
    CHECK(says(text, "remote process exited"));
    CHECK(Clock::now() - began < 20s);
    host.barrier().wait();
    if (host.rank() == 1) emulated::nccl_stall(1, false);
  });
}

TEST_CASE("a group that fails just after a launch loses that call, too") {
  std::atomic<bool> peer_heard = false;
  local::run(2, [&](Communicator& host) {
    Rank rank(host);
    const auto other = rank.ranks().split(0, host.rank(), "other");
    const auto buffer = rank.floats(100, 1.0f);
    rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum).wait();
    rank.read(buffer);
    host.barrier().wait();
    if (host.rank() == 1) {
      auto work = rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum);
      error_of([&] { work.wait(); });
      CHECK(says(error_of([&] { rank.ranks().barrier().wait(); }), "rank 0"));
      peer_heard = true;
      return;
    }
    std::thread failing;
    emulated::nccl_at_launch(0, [&] {
      failing = std::thread([&] {
        float never = 0.0f;
        rank.ranks().set_timeout(10ms);
        error_of([&] { rank.ranks().receive({&never, 1, DataType::f32}, 1, 5).wait(); });
      });
      while (!peer_heard) std::this_thread::sleep_for(1ms);  // so the group has failed
    });
    auto work = rank.ranks().all_reduce(buffer, buffer, ReduceOp::sum);
    const auto text = error_of([&] { work.wait(); });
    CAPTURE(text);
    CHECK(says(text, "receive"));
    failing.join();
    CHECK(says(error_of([&] { other->barrier().wait(); }), "was lost"));
  });
}

TEST_CASE("a flight whose landing throws leaves the others in the watch") {
  check_cuda(cudaSetDevice(0), "cudaSetDevice");
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreate(&stream), "cudaStreamCreate");
  {
    const auto gpu = std::make_shared<nccl::Gpu>(nccl::Options{.compute_stream = stream});
    const auto moves = gpu->make_stream(), held = gpu->make_stream();
    Gate gate;
    gate.close_on(held.get());
    const auto fly = [&](cudaStream_t on) {
      auto flight = std::make_shared<nccl::Flight>(gpu);
      detail::Operation operation;
      operation.deadline = Clock::now() + 60s;
      flight->depart(on, operation);
      flight->launched(on, 0);
      return flight;
    };
    std::atomic<int> failures = 0;
    nccl::Watch watch(
        {.group = "group"}, [] {}, [&](const detail::Fault&) { ++failures; });
    const auto landing = fly(moves.get()), waiting = fly(held.get()), throwing = fly(moves.get());
    throwing->on_landing = [](const auto&) { throw Error("a landing that fails"); };
    check_cuda(cudaStreamSynchronize(moves.get()), "cudaStreamSynchronize");
    for (const auto& flight : {landing, waiting, throwing}) CHECK_FALSE(watch.add(flight));
    watch.land();
    while (failures == 0) std::this_thread::sleep_for(1ms);
    CHECK(landing->poll());
    CHECK_FALSE(waiting->poll());
    CHECK(watch.fail_all({"the end"}));
    CHECK(says(error_of([&] { static_cast<void>(waiting->wait_until(Clock::now())); }), "the end"));
    const auto late = fly(moves.get());
    REQUIRE(watch.add(late));
    CHECK(says(error_of([&] { static_cast<void>(late->wait_until(Clock::now())); }), "the end"));
    gate.open = true;
  }
  check_cuda(cudaStreamDestroy(stream), "cudaStreamDestroy");
}

}  // namespace train

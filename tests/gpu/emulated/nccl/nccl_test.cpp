// What only collectives of GPUs owe: order among streams, routing by memory, and that data under
// way which is lost ends every call on every rank.
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "collectives/local/world.hpp"
#include "collectives/nccl/world.hpp"
#include "tests/gpu/emulated/nccl/faults.hpp"
#include "tests/support/cuda/device_copy.hpp"

namespace train {
namespace {

using namespace std::chrono_literals;

/// A rank with a GPU, a compute stream and a group.
class Rank {
 public:
  explicit Rank(Communicator& host, nccl::Sums sums = nccl::Sums::precise) : device_(host.rank()) {
    check_cuda(cudaSetDevice(device_), "cudaSetDevice");
    check_cuda(cudaStreamCreate(&stream_), "cudaStreamCreate");
    ranks_ =
        nccl::make_communicator(host, {.device = device_, .compute_stream = stream_, .sums = sums});
  }
  ~Rank() {
    ranks_.reset();
    cudaSetDevice(device_);
    for (float* block : blocks_) cudaFree(block);
    cudaStreamDestroy(stream_);
  }

  Communicator& ranks() { return *ranks_; }
  cudaStream_t stream() const { return stream_; }

  Buffer floats(std::size_t count, float value) {
    void* block = nullptr;
    check_cuda(cudaMalloc(&block, count * sizeof(float)), "cudaMalloc");
    blocks_.push_back(static_cast<float*>(block));
    const std::vector<float> values(count, value);
    check_cuda(cudaMemcpyAsync(block, values.data(), count * sizeof(float), cudaMemcpyHostToDevice,
                               stream_),
               "cudaMemcpyAsync");
    return {block, count, DataType::f32};
  }
  /// Behind what the compute stream holds.
  std::vector<float> read(Buffer buffer) {
    std::vector<float> values(buffer.count);
    check_cuda(cudaMemcpyAsync(values.data(), buffer.data, buffer.bytes(), cudaMemcpyDeviceToHost,
                               stream_),
               "cudaMemcpyAsync");
    check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    return values;
  }

 private:
  int device_;
  cudaStream_t stream_ = nullptr;
  std::vector<float*> blocks_;
  std::unique_ptr<Communicator> ranks_;
};

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A host function that holds a stream up until it is let go.
struct Gate {
  std::atomic<bool> open{false};
  void close_on(cudaStream_t stream) {
    const auto wait = [](void* gate) {
      while (!static_cast<Gate*>(gate)->open) std::this_thread::sleep_for(1ms);
    };
    check_cuda(cudaLaunchHostFunc(stream, wait, this), "cudaLaunchHostFunc");
  }
};

}  // namespace

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

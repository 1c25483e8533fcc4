// The emulation itself: threads of a block meet as CUDA's do, and what is undefined on a GPU ends
// the program.

#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/tensor/cuda/check.hpp"
#include "libtrain/tensor/cuda/cuda_memory.hpp"
#include "libtrain/tensor/cuda/launch.cuh"
#include "tests/gpu/emulated/runtime/device.hpp"
#include "tests/support/dies.hpp"

using namespace train::cuda;

namespace {

template <typename T>
class Array {
 public:
  Array(CudaMemory& memory, std::size_t count)
      : memory_(memory),
        count_(count),
        data_(static_cast<T*>(memory.allocate(count * sizeof(T)))) {}
  ~Array() { memory_.release(data_, count_ * sizeof(T)); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* data() const { return data_; }
  std::vector<T> host() const {
    std::vector<T> values(count_);
    memory_.copy_to_host(values.data(), data_, count_ * sizeof(T));
    return values;
  }

 private:
  CudaMemory& memory_;
  std::size_t count_;
  T* data_;
};

using train::test::dies;

__global__ void sum_block_kernel(const int* in, int* out) {
  __shared__ int sums[4];
  int value = in[blockIdx.x * blockDim.x + threadIdx.x];
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = sums[0] + sums[1] + sums[2] + sums[3];
}

__global__ void count_kernel(int* out) {
  out[threadIdx.x] = static_cast<int>(threadIdx.x) + 1;
}

__global__ void shuffles_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int* const mine = out + 5 * lane;
  mine[0] = __shfl_sync(0xffffffffu, lane, 7);
  mine[1] = __shfl_up_sync(0xffffffffu, lane, 3);
  mine[2] = __shfl_down_sync(0xffffffffu, lane, 3);
  mine[3] = __shfl_xor_sync(0xffffffffu, lane, 4, 8);
  mine[4] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 3 == 0));
}

// Each thread gives its number to its neighbour, through memory that all see.
__global__ void pass_on_kernel(int* out, int rounds) {
  int* const room = reinterpret_cast<int*>(dynamic_shared());
  const unsigned thread = threadIdx.x, count = blockDim.x;
  int value = static_cast<int>(thread);
  for (int i = 0; i < rounds; ++i) {
    room[thread] = value;
    __syncthreads();
    value = room[(thread + 1) % count];
    __syncthreads();
  }
  out[thread] = value;
}

__global__ void half_meets_kernel() {
  if (threadIdx.x < 16) __syncthreads();
}

__global__ void half_shuffles_kernel(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
}

__global__ void write_behind_kernel(char* block, int bytes) {
  block[bytes] = 1;
}

}  // namespace

TEST_CASE("a block's threads meet, and its warps shuffle") {
  CudaMemory memory(0);
  const Array<int> in(memory, 3 * 128), out(memory, 3);
  std::vector<int> values(3 * 128);
  std::iota(values.begin(), values.end(), 0);
  memory.copy_from_host(in.data(), values.data(), values.size() * sizeof(int));
  LaunchShape shape;
  shape.grid = dim3(3);
  shape.block = dim3(128);
  for (int repeat = 0; repeat < 2; ++repeat) {  // forwards and backwards
    launch(sum_block_kernel, shape, memory.stream(), in.data(), out.data());
    CHECK(out.host() == std::vector<int>{8128, 24512, 40896});
  }
}

TEST_CASE("shuffles and ballots read the lanes that CUDA says") {
  CudaMemory memory(0);
  const Array<int> out(memory, 5 * 32);
  LaunchShape shape;
  shape.block = dim3(32);
  launch(shuffles_kernel, shape, memory.stream(), out.data());
  const std::vector<int> found = out.host();
  unsigned votes = 0;
  for (int lane = 0; lane < 32; lane += 3) votes |= 1u << lane;
  for (int lane = 0; lane < 32; ++lane) {
    CAPTURE(lane);
    const int* mine = found.data() + 5 * lane;
    CHECK(mine[0] == 7);
    CHECK(mine[1] == (lane < 3 ? lane : lane - 3));
    CHECK(mine[2] == (lane > 28 ? lane : lane + 3));
    CHECK(mine[3] == (lane ^ 4));
    CHECK(static_cast<unsigned>(mine[4]) == votes);
  }
}

TEST_CASE("a block of a thousand threads passes values on through shared memory") {
  CudaMemory memory(0);
  const Array<int> out(memory, 1000);
  LaunchShape shape;
  shape.block = dim3(1000);
  shape.shared_bytes = 1000 * sizeof(int);
  launch(pass_on_kernel, shape, memory.stream(), out.data(), 7);
  const std::vector<int> found = out.host();
  for (int i = 0; i < 1000; ++i) CHECK(found[static_cast<std::size_t>(i)] == (i + 7) % 1000);
}

TEST_CASE("streams order their work, and events order streams") {
  CudaMemory memory(0);
  const Stream other(0);
  const Array<int> out(memory, 64);
  LaunchShape shape;
  shape.block = dim3(64);
  launch(pass_on_kernel, {dim3(1), dim3(64), 64 * sizeof(int)}, other, out.data(), 2000);
  Event done(other);
  CHECK(done.passed());
  done.record(other);
  memory.stream().wait(done);
  launch(count_kernel, shape, memory.stream(), out.data());
  CHECK(out.host()[63] == 64);
  done.wait();
  CHECK(done.passed());
}

TEST_CASE("an event is its device's, and no other's stream takes it") {
  const Stream first(0), second(1);
  Event event(first);
  CHECK_THROWS_AS(event.record(second), train::Error);
  event.record(first);
  second.wait(event);
  second.synchronize();
  CHECK(event.passed());
}

TEST_CASE("a thread opens the first device, unless it chooses another") {
  const Stream stream(3);
  Event event(stream);
  event.record(stream);
  emulated::forget_opened();
  std::thread([&] { event.wait(); }).join();
  CHECK(emulated::is_open(3));
  CHECK_FALSE(emulated::is_open(0));
  std::thread([&] { cudaEventQuery(event.get()); }).join();
  CHECK(emulated::is_open(0));
}

TEST_CASE("a wait for work ends at its deadline") {
  CudaMemory memory(0);
  const Array<int> out(memory, 64);
  launch(pass_on_kernel, {dim3(1), dim3(64), 64 * sizeof(int)}, memory.stream(), out.data(),
         100000);
  Event done(memory.stream());
  done.record(memory.stream());
  CHECK_THROWS_AS(done.wait(std::chrono::milliseconds(5)), train::Error);
  done.wait();
}

// Processes that are forked have no stream of their parent's: they make their own.
TEST_CASE("what is undefined on a GPU ends the program") {
  LaunchShape warp;
  warp.block = dim3(32);
  CHECK_FALSE(dies([] {}));
  CHECK(dies([&] {
    CudaMemory memory(0);
    launch(half_meets_kernel, warp, memory.stream());
    memory.stream().synchronize();
  }));
  CHECK(dies([&] {
    CudaMemory memory(0);
    const Array<int> out(memory, 32);
    launch(half_shuffles_kernel, warp, memory.stream(), out.data());
    memory.stream().synchronize();
  }));
  CHECK(dies([] {
    CudaMemory memory(0);
    const Array<int> out(memory, 32);
    // An event has passed before its stream closes the memory that it worked on.
    check(cudaStreamSynchronize(memory.stream().get()), "cudaStreamSynchronize");
    volatile int seen = out.data()[0];
    (void)seen;
  }));
  CHECK(dies([] {
    const Stream stream(0);
    void* block = nullptr;
    check(cudaMalloc(&block, 100), "cudaMalloc");
    launch(write_behind_kernel, {}, stream, static_cast<char*>(block), 100);
    stream.synchronize();
    cudaFree(block);
  }));
}

TEST_CASE("work of another device than the current one is refused") {
  const Stream stream(1);
  CHECK(stream.device() == 1);
  check(cudaSetDevice(0), "cudaSetDevice");
  int dummy = 0;
  CHECK(cudaMemsetAsync(&dummy, 0, sizeof dummy, stream.get()) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  Event event(stream);
  check(cudaSetDevice(0), "cudaSetDevice");
  CHECK(cudaEventRecord(event.get(), stream.get()) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
}

TEST_CASE("errors of a machine are told with their way out, not as a kernel's") {
  const std::pair<cudaError_t, const char*> known[] = {
      {cudaErrorSystemNotReady, "nvidia-fabricmanager"},
      {cudaErrorSystemDriverMismatch, "restart the machine"},
      {cudaErrorDevicesUnavailable, "compute mode"},
      {cudaErrorECCUncorrectable, "take another GPU"},
      {cudaErrorInvalidValue, "compute-sanitizer"},
  };
  for (const auto& [status, words] : known) {
    CHECK_THROWS_WITH_AS(check(status, "a call"), doctest::Contains(words), train::Error);
  }
}

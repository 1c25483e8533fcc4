#include "tests/gpu/emulated/runtime/block.hpp"

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "tests/gpu/emulated/runtime/fiber.hpp"

namespace emulated {
namespace {

constexpr int warp_size = 32;
constexpr std::size_t shared_bytes_max = 227 * 1024;

enum class State : std::uint8_t { fresh, running, at_warp, at_block, done };

struct Thread {
  State state = State::fresh;
  std::uint32_t meeting = 0;  // which meeting it waits for
  Fiber* fiber = nullptr;
};

struct Warp {
  std::uint32_t meeting = 0;  // counts meetings that took place
  int lanes = 0;
  int arrived = 0;
  WarpCall call = WarpCall::sync;
  // Two, because a lane that was woken reads the last meeting's while others arrive at the next.
  alignas(16) std::byte slots[2][warp_size * warp_slot_bytes];
};

class Block;
thread_local Block* running_block = nullptr;

// One thread of the host's fibers and one block's state, kept from block to block.
class Block {
 public:
  void run(const void* kernel, uint3 index, const std::function<void()>& body, bool backwards);
  void set_shared_bytes(std::size_t bytes) { shared_bytes_ = bytes; }
  std::byte* shared() {
    return shared_.data() + (-std::bit_cast<std::uintptr_t>(shared_.data()) & 127);
  }

  void barrier();
  const std::byte* exchange(WarpCall call, unsigned mask, const void* value, std::size_t bytes);
  int current() const { return current_; }
  int lanes_of_current() const { return warps_[current_ / warp_size].lanes; }

 private:
  static void fiber_main(void* self) { static_cast<Block*>(self)->run_threads(); }
  void run_threads();
  void pause();
  int next() const;
  bool ready(int thread) const;
  void enter(int thread);
  void go_to(int thread, Fiber& from);
  [[noreturn]] void stop(const char* what) const;

  const void* kernel_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  bool backwards_ = false;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  int current_ = 0;
  int done_ = 0;
  int arrived_ = 0;
  std::uint32_t meeting_ = 0;
  std::size_t shared_bytes_ = 0;
  std::vector<std::byte> shared_ = std::vector<std::byte>(shared_bytes_max + 256);
  Fiber main_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;  // ended a thread, and wait for another
};

void Block::stop(const char* what) const {
  int states[5] = {};
  for (const Thread& thread : threads_) ++states[static_cast<int>(thread.state)];
  std::fprintf(
      stderr,
      "emulated CUDA: kernel %p, block (%u, %u, %u): thread %d: %s; %d not begun, %d wait for "
      "their warp, %d for the block, %d have ended\n",
      kernel_, blockIdx.x, blockIdx.y, blockIdx.z, current_, what, states[0], states[2], states[3],
      states[4]);
  std::abort();
}

bool Block::ready(int i) const {
  const Thread& thread = threads_[i];
  switch (thread.state) {
    case State::fresh:
      return true;
    case State::at_warp:
      return warps_[i / warp_size].meeting != thread.meeting;
    case State::at_block:
      return meeting_ != thread.meeting;
    default:
      return false;
  }
}

// The warp's own lanes first, since a warp's meetings are the most frequent; -1 when none can go
// on.
int Block::next() const {
  const int count = static_cast<int>(threads_.size());
  const int first = current_ / warp_size * warp_size;
  const int lanes = warps_[current_ / warp_size].lanes;
  const auto step = [&](int position, int size) {
    return backwards_ ? (position + size - 1) % size : (position + 1) % size;
  };
  int lane = current_ - first;
  for (int i = 0; i < lanes; ++i) {
    lane = step(lane, lanes);
    if (ready(first + lane)) return first + lane;
  }
  int thread = current_;
  for (int i = 0; i < count; ++i) {
    thread = step(thread, count);
    if (ready(thread)) return thread;
  }
  return -1;
}

void Block::enter(int i) {
  current_ = i;
  threads_[i].state = State::running;
  const auto index = static_cast<unsigned>(i);
  threadIdx = {index % blockDim.x, index / blockDim.x % blockDim.y,
               index / (blockDim.x * blockDim.y)};
}

// Leaves `from` for the fiber of a thread, which begins on an idle fiber or goes on on its own.
void Block::go_to(int i, Fiber& from) {
  Fiber* fiber = threads_[i].fiber;
  if (fiber == nullptr) {
    if (idle_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>(fiber_main, this));
      idle_.push_back(fibers_.back().get());
    }
    fiber = threads_[i].fiber = idle_.back();
    idle_.pop_back();
  }
  enter(i);
  from.switch_to(*fiber);
}

// A fiber's life: one thread after another, as long as there are threads that have not begun.
void Block::run_threads() {
  while (true) {
    (*body_)();
    Thread& ended = threads_[current_];
    Fiber* fiber = std::exchange(ended.fiber, nullptr);
    if (!fiber->intact()) stop("its stack is too small for the kernel's arrays");
    ended.state = State::done;
    ++done_;
    const int then = next();
    if (then < 0) {
      if (done_ != static_cast<int>(threads_.size())) {
        stop("ended while others wait for it at a meeting of the block or of its warp");
      }
      idle_.push_back(fiber);
      fiber->switch_to(main_);
    } else if (threads_[then].fiber == nullptr) {
      threads_[then].fiber = fiber;
      enter(then);
    } else {
      idle_.push_back(fiber);
      go_to(then, *fiber);
    }
  }
}

void Block::pause() {
  Fiber& fiber = *threads_[current_].fiber;
  const int then = next();
  if (then < 0) stop("waits for threads that wait elsewhere or have ended");
  go_to(then, fiber);
}

void Block::barrier() {
  if (++arrived_ == static_cast<int>(threads_.size())) {
    arrived_ = 0;
    ++meeting_;
    return;
  }
  threads_[current_].state = State::at_block;
  threads_[current_].meeting = meeting_;
  pause();
}

const std::byte* Block::exchange(WarpCall call, unsigned mask, const void* value,
                                 std::size_t bytes) {
  Warp& warp = warps_[current_ / warp_size];
  const unsigned all = warp.lanes == warp_size ? ~0u : (1u << warp.lanes) - 1;
  if ((mask & all) != all) stop("a warp's call without all of its lanes, which is not emulated");
  if (bytes > warp_slot_bytes) stop("too many bytes for a warp's call");
  if (warp.arrived == 0) warp.call = call;
  if (warp.call != call) stop("lanes of one warp meet in different calls");
  std::byte* slots = warp.slots[warp.meeting % 2];
  std::memcpy(slots + current_ % warp_size * warp_slot_bytes, value, bytes);
  if (++warp.arrived == warp.lanes) {
    warp.arrived = 0;
    ++warp.meeting;
    return slots;
  }
  threads_[current_].state = State::at_warp;
  threads_[current_].meeting = warp.meeting;
  pause();
  return slots;
}

void Block::run(const void* kernel, uint3 index, const std::function<void()>& body,
                bool backwards) {
  kernel_ = kernel;
  body_ = &body;
  backwards_ = backwards;
  const int count = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
  threads_.assign(count, Thread());
  warps_.resize((count + warp_size - 1) / warp_size);
  for (std::size_t i = 0; i < warps_.size(); ++i) {
    warps_[i].meeting = 0;
    warps_[i].arrived = 0;
    warps_[i].lanes = std::min(warp_size, count - static_cast<int>(i) * warp_size);
  }
  done_ = arrived_ = 0;
  blockIdx = index;
  std::memset(shared(), 0xff, shared_bytes_);
  running_block = this;
  go_to(backwards ? count - 1 : 0, main_);
  running_block = nullptr;
}

}  // namespace

void run_grid(const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
              const std::function<void()>& body) {
  static thread_local Block runner;
  static thread_local std::uint64_t launches = 0;
  if (block.x * block.y * block.z == 0 || block.x * block.y * block.z > 1024 || block.z > 64 ||
      shared_bytes > shared_bytes_max || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535) {
    std::fprintf(stderr, "emulated CUDA: launch of kernel %p: invalid configuration\n", kernel);
    std::abort();
  }
  gridDim = grid;
  blockDim = block;
  runner.set_shared_bytes(shared_bytes);
  const std::uint64_t count = std::uint64_t{grid.x} * grid.y * grid.z;
  const bool backwards = launches++ % 2 == 1;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto at = backwards ? count - 1 - i : i;
    const auto x = static_cast<unsigned>(at % grid.x);
    const auto rest = static_cast<unsigned>(at / grid.x);
    runner.run(kernel, {x, rest % grid.y, rest / grid.y}, body, backwards);
  }
}

std::byte* dynamic_shared_memory() {
  return running_block->shared();
}
void block_barrier() {
  running_block->barrier();
}
const std::byte* warp_exchange(WarpCall call, unsigned mask, const void* value, std::size_t bytes) {
  return running_block->exchange(call, mask, value, bytes);
}
int lane() {
  return running_block->current() % warp_size;
}
int warp_lanes() {
  return running_block->lanes_of_current();
}

}  // namespace emulated

#include "collectives/nccl/comm.hpp"

#include <cstring>
#include <future>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/nccl/check.hpp"

namespace train::nccl {
namespace {

// How a thread polls NCCL: most launches settle within microseconds, where a sleep, which takes a
// multiple of what it is told, would leave the GPU without work.
constexpr std::chrono::microseconds settle_without_pause{200};
constexpr std::chrono::microseconds settle_interval{20};
constexpr std::chrono::seconds abort_grace{10};

// An abort frees memory, for which CUDA waits for all work of the device: for ever where that hangs
// for another reason. Then NCCL's communicator is left to the thread that waits.
void abort_within_grace(ncclComm_t comm, int device) noexcept {
  auto aborted = std::make_shared<std::promise<void>>();
  auto end = aborted->get_future();
  try {
    std::thread([comm, device, aborted] {
      cudaSetDevice(device);
      ncclCommAbort(comm);
      aborted->set_value();
    }).detach();
  } catch (const std::system_error&) {
    ncclCommAbort(comm);
    return;
  }
  static_cast<void>(end.wait_for(abort_grace));
}

}  // namespace

Comm::Id Comm::make_id() {
  ncclUniqueId unique;
  check(ncclGetUniqueId(&unique), "ncclGetUniqueId");
  Id id;
  static_assert(sizeof(id) == sizeof(unique));
  std::memcpy(id.data(), &unique, sizeof(unique));
  return id;
}

Comm::Comm(std::shared_ptr<Gpu> gpu, const Id& id, int rank, int size, Deadline deadline,
           const std::atomic<bool>& given_up)
    : gpu_(std::move(gpu)), given_up_(given_up), stream_(gpu_->make_stream()) {
  ncclUniqueId unique;
  std::memcpy(&unique, id.data(), sizeof(unique));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  std::unique_lock lock(mutex_);
  try {
    check(ncclCommInitRankConfig(&comm_, size, unique, rank, &config), "ncclCommInitRankConfig");
    settle(lock, "ncclCommInitRankConfig", deadline);
  } catch (const Error&) {
    if (!lock.owns_lock()) lock.lock();
    if (comm_) abort_within_grace(std::exchange(comm_, nullptr), gpu_->index());
    throw;
  }
}

Comm::~Comm() {
  abort();
}

void Comm::launch(const char* what, Deadline deadline,
                  const std::function<void(ncclComm_t)>& body) {
  std::unique_lock lock(mutex_);
  if (!comm_) throw Error(fmt::format("{}: the group was given up", what));
  check(ncclGroupStart(), "ncclGroupStart", comm_);
  try {
    body(comm_);
  } catch (const Error&) {
    ncclGroupEnd();  // else this thread's later calls would wait for an end
    throw;
  }
  check(ncclGroupEnd(), what, comm_);
  settle(lock, what, deadline);
}

void Comm::settle(std::unique_lock<std::mutex>& lock, const char* what, Deadline deadline) {
  const auto began = Clock::now();
  while (true) {
    if (!comm_ || given_up_) throw Error(fmt::format("{}: the group was given up", what));
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError", comm_);
    check(state, what, comm_);
    if (state == ncclSuccess) return;
    const auto now = Clock::now();
    if (now >= deadline) {
      throw Error(
          fmt::format("{} did not finish before the call's deadline: NCCL could not reach "
                      "all ranks of the group (NCCL_DEBUG=INFO says over what it tries)",
                      what));
    }
    lock.unlock();
    if (now - began < settle_without_pause) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(settle_interval);
    }
    lock.lock();
  }
}

void Comm::check_async() {
  std::lock_guard lock(mutex_);
  if (!comm_) return;
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError", comm_);
  check(state, "a collective of NCCL under way", comm_);
}

void Comm::abort() noexcept {
  std::lock_guard lock(mutex_);
  if (comm_) abort_within_grace(std::exchange(comm_, nullptr), gpu_->index());
}

void Comm::close(std::chrono::milliseconds grace) noexcept {
  const auto deadline = Clock::now() + grace;
  std::unique_lock lock(mutex_);
  if (!comm_) return;
  try {
    check(ncclCommFinalize(comm_), "ncclCommFinalize", comm_);
    settle(lock, "ncclCommFinalize", deadline);
    ncclCommDestroy(std::exchange(comm_, nullptr));
  } catch (const Error&) {
    if (!lock.owns_lock()) lock.lock();
    if (comm_) abort_within_grace(std::exchange(comm_, nullptr), gpu_->index());
  }
}

}  // namespace train::nccl

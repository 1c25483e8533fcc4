#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include <nccl.h>

#include "tests/gpu/emulated/nccl/faults.hpp"
#include "tests/gpu/emulated/nccl/ring.hpp"
#include "tests/gpu/emulated/runtime/fail.hpp"
#include "tests/gpu/emulated/runtime/stream.hpp"

using emulated::NcclCall;
using emulated::NcclKind;
using emulated::Ring;

namespace {

// How often a communicator says that it is still at what a call began.
constexpr int polls_in_progress = 2;

struct Launch {
  cudaStream_t stream;
  std::vector<NcclCall> calls;
};

}  // namespace

struct ncclComm {
  enum class Phase { starting, ready, launching, finalizing, finalized };

  std::shared_ptr<Ring::Member> member;
  std::mutex mutex;
  Phase phase = Phase::starting;
  int polls_left = polls_in_progress;
  ncclResult_t error = ncclSuccess;
  std::vector<Launch> launches;

  void start_launches() {
    int device = 0;
    cudaGetDevice(&device);
    cudaSetDevice(member->device);
    for (auto& [stream, calls] : launches) {
      member->ring->queue(*member);
      const bool taken = emulated::enqueue(
          stream, [held = member, calls = std::move(calls)] { held->ring->run(held, calls); });
      if (!taken) error = ncclUnhandledCudaError;
    }
    launches.clear();
    cudaSetDevice(device);
  }
};

namespace {

struct State {
  std::mutex mutex;
  int version = 22809;
  std::uint64_t ids = 0;
  std::map<std::uint64_t, std::shared_ptr<Ring>> rings;
  std::set<ncclComm*> comms;
  std::set<int> stalled;
  std::map<int, std::function<void()>> at_launch;
};

State& state() {
  static State& state = *new State;
  return state;
}

// A thread's open group: calls by communicator and stream, in order.
struct Group {
  int depth = 0;
  std::vector<std::pair<ncclComm_t, Launch>> launches;
};
thread_local Group group;

void require_live(ncclComm_t comm) {
  std::lock_guard lock(state().mutex);
  if (!state().comms.contains(comm)) emulated::fail("NCCL: a communicator that is gone is used");
}

ncclResult_t add(ncclComm_t comm, const NcclCall& call, cudaStream_t stream) {
  if (comm == nullptr || stream == nullptr) return ncclInvalidArgument;
  require_live(comm);
  int device = 0;
  cudaGetDevice(&device);
  if (device != comm->member->device) return ncclInvalidUsage;
  if (!emulated::nccl_accepts(call, comm->member->rank, comm->member->ring->ranks())) {
    return ncclInvalidArgument;
  }
  {
    std::lock_guard lock(comm->mutex);
    if (comm->phase != ncclComm::Phase::ready) return ncclInvalidUsage;
  }
  if (group.depth == 0) emulated::fail("NCCL: a call outside of a group");
  for (auto& [owner, launch] : group.launches) {
    if (owner != comm || launch.stream != stream) continue;
    launch.calls.push_back(call);
    return ncclSuccess;
  }
  group.launches.push_back({comm, {stream, {call}}});
  return ncclSuccess;
}

void tell_of_launch(int device) {
  std::unique_lock lock(state().mutex);
  const auto found = state().at_launch.find(device);
  if (found == state().at_launch.end()) return;
  const auto then = std::move(found->second);
  state().at_launch.erase(found);
  lock.unlock();
  then();
}

void forget(ncclComm_t comm) {
  {
    std::lock_guard lock(state().mutex);
    if (state().comms.erase(comm) == 0) emulated::fail("NCCL: a communicator is freed twice");
  }
  delete comm;
}

}  // namespace

namespace emulated {

bool nccl_stalled(int device) {
  std::lock_guard lock(state().mutex);
  return state().stalled.contains(device);
}

void nccl_stall(int device, bool stalled) {
  std::vector<std::shared_ptr<Ring>> rings;
  {
    std::lock_guard lock(state().mutex);
    if (stalled) {
      state().stalled.insert(device);
    } else {
      state().stalled.erase(device);
    }
    for (auto* comm : state().comms) rings.push_back(comm->member->ring);
  }
  for (const auto& ring : rings) ring->wake();
}

void nccl_lose_peer(int device) {
  std::lock_guard lock(state().mutex);
  for (auto* comm : state().comms) {
    if (comm->member->device != device) continue;
    std::lock_guard comm_lock(comm->mutex);
    comm->error = ncclRemoteError;
  }
}

void nccl_at_launch(int device, std::function<void()> then) {
  std::lock_guard lock(state().mutex);
  state().at_launch[device] = std::move(then);
}

void nccl_version(int version) {
  std::lock_guard lock(state().mutex);
  state().version = version;
}

int nccl_live() {
  std::lock_guard lock(state().mutex);
  return static_cast<int>(state().comms.size());
}

}  // namespace emulated

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
  }
  return "unknown result code";
}

const char* ncclGetLastError(ncclComm_t) {
  return "";
}

ncclResult_t ncclGetVersion(int* version) {
  std::lock_guard lock(state().mutex);
  *version = state().version;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::lock_guard lock(state().mutex);
  std::memset(id, 0, sizeof *id);
  const std::uint64_t number = ++state().ids;
  std::memcpy(id->internal, &number, sizeof number);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (config == nullptr || config->magic != 0xcafebeef || ranks < 1 || rank < 0 || rank >= ranks) {
    return ncclInvalidArgument;
  }
  if (config->blocking != 0) emulated::fail("NCCL: a communicator that blocks");
  std::uint64_t number = 0;
  std::memcpy(&number, id.internal, sizeof number);
  auto member = std::make_shared<Ring::Member>();
  cudaGetDevice(&member->device);
  member->rank = rank;
  std::lock_guard lock(state().mutex);
  if (number == 0 || number > state().ids) return ncclInvalidArgument;
  auto& ring = state().rings[number];
  if (!ring) ring = std::make_shared<Ring>(ranks);
  if (ring->ranks() != ranks || !ring->join(rank, member->device)) return ncclInvalidUsage;
  member->ring = ring;
  *comm = new ncclComm;
  (*comm)->member = std::move(member);
  state().comms.insert(*comm);
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  require_live(comm);
  std::unique_lock lock(comm->mutex);
  auto& ring = *comm->member->ring;
  *error = ncclInProgress;
  if (comm->error != ncclSuccess) {
    *error = comm->error;
  } else if (comm->phase == ncclComm::Phase::ready || comm->phase == ncclComm::Phase::finalized) {
    *error = ncclSuccess;
  } else if (comm->phase == ncclComm::Phase::starting && !ring.complete()) {
    return ncclSuccess;
  } else if (comm->phase == ncclComm::Phase::finalizing && !ring.idle(*comm->member)) {
    return ncclSuccess;
  } else if (comm->polls_left-- == 0) {
    const bool launched = comm->phase == ncclComm::Phase::launching;
    comm->start_launches();
    comm->phase = comm->phase == ncclComm::Phase::finalizing ? ncclComm::Phase::finalized
                                                             : ncclComm::Phase::ready;
    *error = comm->error;
    lock.unlock();
    if (launched) tell_of_launch(comm->member->device);
  }
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  require_live(comm);
  std::lock_guard lock(comm->mutex);
  if (comm->phase != ncclComm::Phase::ready) return ncclInvalidUsage;
  comm->phase = ncclComm::Phase::finalizing;
  comm->polls_left = polls_in_progress;
  return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  require_live(comm);
  {
    std::lock_guard lock(comm->mutex);
    if (comm->phase != ncclComm::Phase::finalized) {
      emulated::fail("NCCL: a communicator is destroyed that was not finalized");
    }
  }
  forget(comm);
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  require_live(comm);
  comm->member->ring->abort(*comm->member);
  forget(comm);
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group.depth == 0) return ncclInvalidUsage;
  if (--group.depth > 0) return ncclSuccess;
  const auto launches = std::exchange(group.launches, {});
  for (const auto& [comm, launch] : launches) {
    std::lock_guard lock(comm->mutex);
    comm->launches.push_back(launch);
    comm->phase = ncclComm::Phase::launching;
    comm->polls_left = polls_in_progress;
  }
  return launches.empty() ? ncclSuccess : ncclInProgress;
}

namespace {

NcclCall call_of(NcclKind kind, const void* send, void* receive, std::size_t count,
                 ncclDataType_t type, ncclRedOp_t op = ncclSum, int peer = 0) {
  return {
      kind, static_cast<const std::byte*>(send), static_cast<std::byte*>(receive), count, type, op,
      peer};
}

}  // namespace

ncclResult_t ncclAllReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, call_of(NcclKind::all_reduce, send, receive, count, type, op), stream);
}

ncclResult_t ncclReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                        ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, call_of(NcclKind::reduce, send, receive, count, type, op, root), stream);
}

ncclResult_t ncclReduceScatter(const void* send, void* receive, std::size_t receive_count,
                               ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm,
                               cudaStream_t stream) {
  return add(comm, call_of(NcclKind::reduce_scatter, send, receive, receive_count, type, op),
             stream);
}

ncclResult_t ncclAllGather(const void* send, void* receive, std::size_t send_count,
                           ncclDataType_t type, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, call_of(NcclKind::all_gather, send, receive, send_count, type), stream);
}

ncclResult_t ncclBroadcast(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, call_of(NcclKind::broadcast, send, receive, count, type, ncclSum, root), stream);
}

ncclResult_t ncclSend(const void* send, std::size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  return add(comm, call_of(NcclKind::send, send, nullptr, count, type, ncclSum, peer), stream);
}

ncclResult_t ncclRecv(void* receive, std::size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  return add(comm, call_of(NcclKind::receive, nullptr, receive, count, type, ncclSum, peer),
             stream);
}

#include "tests/gpu/emulated/nccl/ring.hpp"

#include <cstring>

#include "tests/gpu/emulated/runtime/fail.hpp"

namespace emulated {

bool Ring::join(int rank, int device) {
  std::lock_guard lock(mutex_);
  return joined_.insert(rank).second && devices_.insert(device).second;
}

bool Ring::complete() {
  std::lock_guard lock(mutex_);
  return static_cast<int>(joined_.size()) == ranks_;
}

void Ring::abort(Member& member) {
  Lock lock(mutex_);
  member.aborted = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return member.kernels_running == 0; });
}

bool Ring::idle(const Member& member) {
  std::lock_guard lock(mutex_);
  return member.kernels_queued == 0;
}

void Ring::queue(Member& member) {
  std::lock_guard lock(mutex_);
  ++member.kernels_queued;
}

void Ring::wake() {
  std::lock_guard lock(mutex_);
  changed_.notify_all();
}

bool Ring::wait(Lock& lock, Member& member, const std::function<bool()>& ready) {
  changed_.wait(lock, [&] { return member.aborted || ready(); });
  return !member.aborted;
}

void Ring::run(const std::shared_ptr<Member>& member, const std::vector<NcclCall>& calls) {
  Lock lock(mutex_);
  ++member->kernels_running;
  const auto begun = [&] {
    return wait(lock, *member, [&] { return !nccl_stalled(member->device); });
  };
  std::vector<std::pair<std::uint64_t, NcclCall>> collectives;
  std::vector<std::shared_ptr<Letter>> sent;
  bool going = begun();
  // What others need of this rank first: within a group no call waits for another.
  for (const NcclCall& call : calls) {
    if (!going) break;
    if (call.kind == NcclKind::send) {
      sent.push_back(std::make_shared<Letter>(Letter{call}));
      letters_[{member->rank, call.peer}].push_back(sent.back());
    } else if (call.kind != NcclKind::receive) {
      auto& meeting = meetings_[member->collectives];
      meeting.calls.resize(static_cast<std::size_t>(ranks_));
      meeting.calls[static_cast<std::size_t>(member->rank)] = call;
      ++meeting.arrived;
      collectives.emplace_back(member->collectives++, call);
    }
  }
  changed_.notify_all();
  for (const NcclCall& call : calls) {
    if (going && call.kind == NcclKind::receive) going = take(lock, *member, call);
  }
  for (const auto& [number, call] : collectives) {
    if (going) going = finish(lock, *member, number, call);
  }
  for (const auto& letter : sent) {
    if (going) going = wait(lock, *member, [&] { return letter->taken; });
  }
  --member->kernels_running;
  --member->kernels_queued;
  changed_.notify_all();
}

bool Ring::finish(Lock& lock, Member& member, std::uint64_t number, const NcclCall& own) {
  auto& meeting = meetings_[number];
  if (!wait(lock, member, [&] { return meeting.arrived == ranks_; })) return false;
  for (const NcclCall& other : meeting.calls) {
    if (other.kind != own.kind || other.count != own.count || other.type != own.type ||
        other.op != own.op || other.peer != own.peer) {
      fail("NCCL: ranks make different calls; a GPU would hang or compute rubbish");
    }
  }
  // In place, a result may be written only when all ranks have read.
  const auto result = nccl_result(meeting.calls, member.rank);
  ++meeting.computed;
  changed_.notify_all();
  if (!wait(lock, member, [&] { return meeting.computed == ranks_; })) return false;
  if (!result.empty()) std::memcpy(own.receive, result.data(), result.size());
  if (++meeting.left == ranks_) meetings_.erase(number);
  return true;
}

bool Ring::take(Lock& lock, Member& member, const NcclCall& call) {
  auto& queue = letters_[{call.peer, member.rank}];
  if (!wait(lock, member, [&] { return !queue.empty(); })) return false;
  const auto letter = queue.front();
  queue.pop_front();
  if (letter->call.count != call.count || letter->call.type != call.type) {
    fail("NCCL: a receive does not fit its send; a GPU would hang or compute rubbish");
  }
  if (call.count > 0) {
    std::memcpy(call.receive, letter->call.send, call.count * nccl_width(call.type));
  }
  letter->taken = true;
  changed_.notify_all();
  return true;
}

}  // namespace emulated

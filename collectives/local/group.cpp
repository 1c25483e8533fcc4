#include "collectives/local/group.hpp"

#include <utility>

#include <fmt/format.h>

namespace train::local {

using detail::Fault;
using detail::Membership;
using detail::Operation;
using detail::PeerFailure;

Group::Group(std::string name, int size)
    : name_(std::move(name)), seats_(static_cast<std::size_t>(size)) {}

std::vector<detail::Arrival> Group::meet(const Membership& who, const Operation& operation) {
  std::unique_lock lock(mutex_);
  // Those who came before the failure have given up: do not complete their number.
  if (failure_) throw_if_hopeless(who, operation, {who.rank});
  auto& seat = seats_[static_cast<std::size_t>(who.rank)];
  seat.arrival = arrival_of(operation);
  seat.operation = &operation;
  seat.arrived = operation.sequence + 1;
  std::vector<int> missing = missing_at(operation.sequence);
  if (missing.empty()) changed_.notify_all();
  while (!missing.empty()) {
    throw_if_hopeless(who, operation, missing);
    if (Clock::now() >= operation.deadline) {
      const auto stall = describe_stall(who, operation, missing);
      // Under the same lock: whoever arrives from now on must find the group failed.
      if (!failure_) failure_ = Failure{who.rank, stall};
      changed_.notify_all();
      throw Error(stall);
    }
    if (operation.deadline == Deadline::max()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, operation.deadline);
    }
    missing = missing_at(operation.sequence);
  }
  std::vector<detail::Arrival> arrivals;
  arrivals.reserve(seats_.size());
  for (const auto& each : seats_) arrivals.push_back(each.arrival);
  return arrivals;
}

const Operation& Group::operation_of(int rank) const {
  std::lock_guard lock(mutex_);
  return *seats_[static_cast<std::size_t>(rank)].operation;
}

void Group::sync() {
  std::unique_lock lock(mutex_);
  if (++synced_ == size()) {
    synced_ = 0;
    ++sync_generation_;
    changed_.notify_all();
    return;
  }
  const auto generation = sync_generation_;
  changed_.wait(lock, [&] { return sync_generation_ != generation; });
}

void Group::check(int rank) const {
  std::lock_guard lock(mutex_);
  if (failure_ && failure_->rank != rank) fault_with(rank, rank)->raise();
}

void Group::fail(int rank, const std::string& why) {
  std::lock_guard lock(mutex_);
  if (!failure_) failure_ = Failure{rank, why};
  changed_.notify_all();
}

void Group::leave(int rank) {
  std::lock_guard lock(mutex_);
  seats_[static_cast<std::size_t>(rank)].left = true;
  changed_.notify_all();
}

std::optional<Fault> Group::fault_with(int of, int peer) const {
  if (failure_) {
    if (failure_->rank == of) return Fault{failure_->why, false};
    return Fault{fmt::format("rank {} of group '{}' failed: {} (seen by rank {})", failure_->rank,
                             name_, failure_->why, of),
                 true};
  }
  if (peer != of && seats_[static_cast<std::size_t>(peer)].left) {
    return Fault{fmt::format("rank {} left group '{}' (seen by rank {})", peer, name_, of), true};
  }
  return std::nullopt;
}

std::vector<int> Group::missing_at(std::uint64_t sequence) const {
  std::vector<int> missing;
  for (int rank = 0; rank < size(); ++rank) {
    if (seats_[static_cast<std::size_t>(rank)].arrived <= sequence) missing.push_back(rank);
  }
  return missing;
}

void Group::throw_if_hopeless(const Membership& who, const Operation& operation,
                              const std::vector<int>& missing) const {
  for (const int rank : missing) {
    const auto fault = fault_with(who.rank, rank);
    if (!fault) continue;
    const std::string text =
        fmt::format("{} (sequence {}) cannot finish: {}", describe(arrival_of(operation).signature),
                    operation.sequence, fault->message);
    Fault{text, fault->of_peer}.raise();
  }
}

}  // namespace train::local

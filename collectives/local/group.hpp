#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "collectives/ordered/agreement.hpp"
#include "collectives/ordered/fault.hpp"
#include "collectives/ordered/operation.hpp"

namespace train::local {

/// What the threads of one group share: who has arrived at which collective, and whether the group
/// still works. Once all have met, everything up to the closing sync() is bounded work on memory,
/// so it knows no deadline: nobody's buffers are freed while others read them.
class Group {
 public:
  Group(std::string name, int size);

  const std::string& name() const { return name_; }
  int size() const { return static_cast<int>(seats_.size()); }

  /// Waits for all ranks; returns what each brought. Throws if one cannot come any more, and at
  /// the operation's deadline.
  std::vector<detail::Arrival> meet(const detail::Membership& who,
                                    const detail::Operation& operation);
  /// What `rank` called. Only between meet() and the closing sync().
  const detail::Operation& operation_of(int rank) const;
  /// A barrier among ranks that have met.
  void sync();

  /// Throws if another rank than `rank` has failed the group.
  void check(int rank) const;
  /// The first failure stays. Ranks that wait for others are woken and throw it.
  void fail(int rank, const std::string& why);
  void leave(int rank);

  /// For the mailbox, which shares the lock: a rank that fails must wake both kinds of waiters.
  std::mutex& mutex() { return mutex_; }
  std::condition_variable& changed() { return changed_; }
  /// Under the lock: why calls of rank `of` that need `peer` cannot succeed.
  std::optional<detail::Fault> fault_with(int of, int peer) const;

 private:
  struct Seat {
    /// Collectives this rank has come to.
    std::uint64_t arrived = 0;
    bool left = false;
    detail::Arrival arrival;
    const detail::Operation* operation = nullptr;
  };
  struct Failure {
    int rank = 0;
    std::string why;
  };

  std::vector<int> missing_at(std::uint64_t sequence) const;
  void throw_if_hopeless(const detail::Membership& who, const detail::Operation& operation,
                         const std::vector<int>& missing) const;

  const std::string name_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Seat> seats_;
  std::optional<Failure> failure_;
  int synced_ = 0;
  std::uint64_t sync_generation_ = 0;
};

}  // namespace train::local

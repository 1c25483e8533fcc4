#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "collectives/ordered/agreement.hpp"
#include "collectives/ordered/fault.hpp"
#include "collectives/ordered/operation.hpp"

namespace train::detail {

/// How bytes move between the ranks of one group: what a backend implements below
/// OrderedCommunicator. meet, move and split run on one thread, for one operation at a time; the
/// rest may be called from other threads meanwhile. Every failure is an Error (a PeerFailure when
/// another rank caused it) and is followed by fail(), after which nothing but leave() is called.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual const Membership& who() const = 0;

  /// On the caller's thread, in the order of the calls, before the operation is queued: what has to
  /// be noted at that moment. May set place and flight. Throws Error for a call that cannot work,
  /// at no cost to the group.
  virtual void prepare(Operation& operation) { static_cast<void>(operation); }
  /// Where a failure beside the calls is recorded, for the calls that come.
  virtual void report_to(std::shared_ptr<FaultLatch> latch) { static_cast<void>(latch); }
  /// Lands the flights that have ended. For any thread.
  virtual void land_flights() {}
  /// Throws if another rank has said that it failed, without waiting. For any thread.
  virtual void check_peers() {}

  /// Waits until all ranks have arrived at this operation; returns what each brought, by rank.
  /// Throws at the deadline with describe_stall().
  virtual std::vector<Arrival> meet(const Operation& operation) = 0;
  /// After all ranks met and agreed: the operation itself, or its launch where there is a flight.
  /// Returns bytes sent to other ranks.
  virtual std::uint64_t move(const Operation& operation) = 0;
  /// After all ranks met: this rank's part of the group, or nullptr when `members` (ranks of this
  /// group in their new order) is empty.
  virtual std::shared_ptr<Transport> split(const Operation& operation,
                                           std::span<const int> members) = 0;

  virtual std::shared_ptr<Work::State> send(ConstBuffer buffer, int peer, int tag,
                                            Deadline deadline) = 0;
  virtual std::shared_ptr<Work::State> receive(Buffer buffer, int peer, int tag,
                                               Deadline deadline) = 0;

  /// Ends what is under way on this rank and tells the other ranks why, without waiting for them.
  /// What a peer caused need not be told again.
  virtual void fail(const Fault& why) noexcept = 0;
  /// The last call: waits for messages and flights under way (each by its deadline) unless failed,
  /// and tells the others that this rank is gone.
  virtual void leave() noexcept = 0;
};

}  // namespace train::detail

#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "collectives/nccl/gpu.hpp"
#include "collectives/ordered/agreement.hpp"
#include "collectives/ordered/fault.hpp"
#include "collectives/ordered/operation.hpp"

namespace train::nccl {

/// One collective on its way over the GPU's streams. From compute to compute stream: `called`, on
/// the caller's thread, marks what it has to wait for; departs and `launched` frame its work on the
/// group's stream; a wait makes the compute stream wait for its end.
class Flight final : public detail::Flight {
 public:
  /// Marks the compute stream's work up to now as what the collective follows.
  explicit Flight(std::shared_ptr<Gpu> gpu);
  ~Flight() override;

  /// Before and after the work is given to `stream`.
  void depart(cudaStream_t stream, const detail::Operation& operation);
  void launched(cudaStream_t stream, std::uint64_t bytes_sent);

  bool wait_until(Deadline deadline) override;
  /// Looks whether it has ended; lands it then. True once it has landed or failed.
  bool poll();
  /// Unless it has landed.
  void fail(const detail::Fault& fault);

  Deadline deadline() const { return deadline_; }
  /// The error of a flight that is not over at its deadline.
  std::string describe_stall(const detail::Membership& who) const;

 private:
  enum class Status { called, launched, landed, failed };

  /// Under the lock.
  void look();

  std::shared_ptr<Gpu> gpu_;
  EventHandle called_, begun_, ended_;
  std::string text_;
  std::uint64_t sequence_ = 0;
  Clock::time_point time_called_;
  Deadline deadline_ = Deadline::max();
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Status status_ = Status::called;
  std::uint64_t bytes_sent_ = 0;
  detail::Fault fault_;
};

}  // namespace train::nccl

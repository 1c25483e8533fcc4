#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "collectives/error.hpp"

namespace train::detail {

/// Another rank failed or left. Kept apart from Error so that whoever reports for all ranks can
/// name the cause before its consequences.
class PeerFailure : public Error {
 public:
  using Error::Error;
};

/// Why a call failed. Passed between threads as text: every waiter throws an exception of its own.
struct Fault {
  std::string message;
  bool of_peer = false;

  [[noreturn]] void raise() const {
    if (of_peer) throw PeerFailure(message);
    throw Error(message);
  }
};

/// The first fault of a communicator; it stays.
class FaultLatch {
 public:
  void record(const Fault& fault) {
    std::lock_guard lock(mutex_);
    if (!fault_) fault_ = fault;
  }
  std::optional<Fault> fault() const {
    std::lock_guard lock(mutex_);
    return fault_;
  }
  void raise_if_set() const {
    if (const auto found = fault()) found->raise();
  }

 private:
  mutable std::mutex mutex_;
  std::optional<Fault> fault_;
};

/// The exception being handled, as a Fault. Call inside a catch block.
Fault current_fault();

}  // namespace train::detail

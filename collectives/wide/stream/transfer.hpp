#pragma once

#include <cstddef>
#include <memory>

#include "collectives/work.hpp"

namespace train::wide {

/// One bulk transfer over a link, of either end. Safe to use from several threads. The memory that
/// was passed to the call must live until the transfer is done, has failed or was cancelled; from
/// then on no thread of the link touches it. Dropping a Transfer neither cancels nor waits.
class [[nodiscard]] Transfer {
 public:
  class State;

  explicit Transfer(std::shared_ptr<State> state);

  /// Returns when all bytes are there: for the receiver, in its memory; for the sender,
  /// acknowledged by the receiver. Throws Error when the transfer's deadline passed, either end
  /// gave it up, or the peer left or restarted.
  void wait();
  /// Like wait(), but gives up waiting (not the transfer) at `deadline`: returns false then.
  [[nodiscard]] bool wait_until(Deadline deadline);
  [[nodiscard]] bool done() { return wait_until(Clock::now()); }

  /// Bytes from the start that are there, without a gap: a receiver may read them, a sender may
  /// overwrite them. Grows in steps of a chunk. Throws nothing.
  std::size_t progress() const;
  /// Waits until progress() >= `bytes`. False when `deadline` came first; throws like wait().
  [[nodiscard]] bool wait_progress(std::size_t bytes, Deadline deadline);

  /// For a sender that posted its memory before it was filled (SendOptions::ready_bytes): the first
  /// `bytes` bytes may be sent now. Never takes anything back.
  void release(std::size_t bytes);

  /// Gives the transfer up, here and at the peer, whose end fails with a message that says so.
  /// Nothing happens if it is done. The memory is free when the call returns.
  void cancel();

  /// The same transfer where only a Work is wanted.
  Work work() const;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace train::wide

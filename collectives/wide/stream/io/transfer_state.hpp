#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>

#include "collectives/wide/stream/transfer.hpp"

namespace train::wide {

/// What both ends of a transfer have in common: who waits for it, and when its memory may be
/// touched. A stream's thread touches the memory only between enter() and leave(); once the
/// transfer has ended nobody gets in, and nobody is in.
class Transfer::State : public Work::State {
 public:
  State(std::size_t bytes, Deadline deadline) : bytes_(bytes), deadline_(deadline) {}

  bool wait_until(Deadline deadline) override;
  bool wait_progress(std::size_t bytes, Deadline deadline);
  std::size_t progress() const;
  bool ended() const;

  std::size_t bytes() const { return bytes_; }
  Deadline deadline() const { return deadline_; }

  /// Ends the transfer, after the steps under way, unless it has ended already: false then.
  bool finish() { return end({}); }
  bool fail(const std::string& why) { return end(why); }

  virtual void release(std::size_t) {}
  /// Set once by the link, before anybody else knows the transfer.
  std::function<void()> on_cancel;

 protected:
  bool end(const std::string& why);
  /// Under mutex_.
  void advance_to(std::size_t bytes);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  int steps_ = 0;  // threads between enter() and leave()

 private:
  const std::size_t bytes_;
  const Deadline deadline_;
  bool done_ = false;  // ended_, and no steps are left
  std::size_t progress_ = 0;
  std::string error_;
};

}  // namespace train::wide

#pragma once

#include <csignal>
#include <cstddef>
#include <memory>

namespace train {

/// While one lives, SIGTERM and SIGUSR1 do not end the process but are remembered: notice that the
/// machine is wanted back. One at a time, made by the process's first thread, which the system
/// gives such signals to; the handlers before come back at its end.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool received() const;

 private:
  std::unique_ptr<std::byte[]> stack_;
  stack_t stack_before_ = {};
  struct sigaction before_term_ = {};
  struct sigaction before_user_ = {};
};

}  // namespace train

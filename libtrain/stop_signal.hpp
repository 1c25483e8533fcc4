#pragma once

#include <csignal>

namespace train {

/// While one lives, SIGTERM and SIGUSR1 do not end the process but are remembered: notice that the
/// machine is wanted back. One at a time; the handlers before come back at its end.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool received() const;

 private:
  struct sigaction before_term_ = {};
  struct sigaction before_user_ = {};
};

}  // namespace train

#include "libtrain/stop_signal.hpp"

namespace train {
namespace {

// A signal handler has nowhere else to write to.
volatile std::sig_atomic_t stop_received = 0;

void on_signal(int) {
  stop_received = 1;
}

}  // namespace

StopSignal::StopSignal() {
  stop_received = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, &before_term_);
  sigaction(SIGUSR1, &action, &before_user_);
}

StopSignal::~StopSignal() {
  sigaction(SIGTERM, &before_term_, nullptr);
  sigaction(SIGUSR1, &before_user_, nullptr);
}

bool StopSignal::received() const {
  return stop_received != 0;
}

}  // namespace train

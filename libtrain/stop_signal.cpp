#include "libtrain/stop_signal.hpp"

namespace train {
namespace {

// What the processor's registers take (11 KiB with AMX), several times.
constexpr std::size_t stack_bytes = 64 << 10;

// A signal handler has nowhere else to write to.
volatile std::sig_atomic_t stop_received = 0;

void on_signal(int) {
  stop_received = 1;
}

}  // namespace

// The handler has a stack of its own: oneDNN's matrix products use the stack pointer for other
// things meanwhile, and what a signal leaves there would go over the values of tensors.
StopSignal::StopSignal() : stack_(std::make_unique<std::byte[]>(stack_bytes)) {
  stop_received = 0;
  stack_t stack{};
  stack.ss_sp = stack_.get();
  stack.ss_size = stack_bytes;
  sigaltstack(&stack, &stack_before_);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigaction(SIGTERM, &action, &before_term_);
  sigaction(SIGUSR1, &action, &before_user_);
}

StopSignal::~StopSignal() {
  sigaction(SIGTERM, &before_term_, nullptr);
  sigaction(SIGUSR1, &before_user_, nullptr);
  sigaltstack(&stack_before_, nullptr);
}

bool StopSignal::received() const {
  return stop_received != 0;
}

}  // namespace train

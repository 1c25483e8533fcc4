// Where the clusters of a job meet.
//
//   train_coordinator --listen 0.0.0.0:7600 --journal runs/job --certs runs/certs --clusters-min 2
//
// `--help` lists the flags; README.md of collectives/wide/protocol says what it does.

#include <chrono>
#include <csignal>
#include <exception>
#include <string>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <pthread.h>

#include "collectives/standard_streams.hpp"
#include "collectives/wide/service/program/arguments.hpp"

namespace {

using train::wide::CoordinatorServer;
using train::wide::Log;

/// One line with the time of day.
void print(const Log& log) {
  const auto now = std::chrono::system_clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
  train::log_line(fmt::format(
      "{:%Y-%m-%d %H:%M:%S}.{:03} {}{}", fmt::localtime(std::chrono::system_clock::to_time_t(now)),
      ms.count() % 1000, log.level == Log::Level::warning ? "warning: " : "", log.text));
}

/// The signals that ask for the end. Blocked in every thread, so that the main thread can wait for
/// them; a full disk (SIGXFSZ) and a closed terminal's pipe are errors of a write, not of the
/// program.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

int serve(int argc, char** argv) {
  auto arguments = train::wide::parse_coordinator_arguments(argc, argv);
  if (arguments.status) return *arguments.status;
  const sigset_t signals = block_signals();
  const auto addresses = arguments.options.listen;
  arguments.options.on_log = print;
  CoordinatorServer server(std::move(arguments.options));
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const std::string host = addresses[i].substr(0, addresses[i].rfind(':'));
    print({Log::Level::info, fmt::format("listening at {}:{}", host, server.ports()[i])});
  }
  constexpr timespec moment{0, 100'000'000};
  while (!server.wait(train::Clock::now())) {
    if (const int signal = ::sigtimedwait(&signals, nullptr, &moment); signal > 0) {
      print({Log::Level::info,
             fmt::format("{}: ends; the journal is complete, and clusters wait at their exchange",
                         signal == SIGINT ? "interrupted" : "terminated")});
      return 0;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  train::occupy_standard_descriptors();
  try {
    return serve(argc, argv);
  } catch (const std::exception& error) {
    train::log_line(fmt::format("train_coordinator: {}", error.what()));
    return 1;
  }
}

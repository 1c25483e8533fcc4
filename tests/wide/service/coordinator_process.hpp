#pragma once

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/types.h>

#include "tests/wide/service/service_job.hpp"

namespace train::wide::test {

/// A train_coordinator of its own process, killed with the object.
class CoordinatorProcess {
 public:
  /// `file_bytes_max` is a disk that is full after so many bytes of a file. With `error_path` its
  /// stderr is that file and not in `lines`; or closed, if that is empty.
  explicit CoordinatorProcess(const std::vector<std::string>& words,
                              std::optional<rlim_t> file_bytes_max = {},
                              std::optional<std::string> error_path = {});
  ~CoordinatorProcess();
  CoordinatorProcess(const CoordinatorProcess&) = delete;
  CoordinatorProcess& operator=(const CoordinatorProcess&) = delete;

  /// Where it listens; 0 if it has ended without saying so.
  std::uint16_t port();
  void signal(int number);
  /// Its status, or the negative number of the signal that ended it. Waits 60 s, then kills it.
  /// All that it wrote is in `lines` then.
  int wait();
  bool running();
  Lines lines;  // that it wrote to stderr

 private:
  void read();

  pid_t process_ = 0;
  std::optional<int> status_;
  int output_ = -1;
  std::thread reader_;
};

}  // namespace train::wide::test

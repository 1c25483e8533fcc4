#pragma once

#include <csignal>

namespace train {

/// While it lives, a process that SIGBUS ends because a mapped file became shorter, or its disk
/// fails, says so and names the file. One per process.
class MappedFileFault {
 public:
  MappedFileFault();
  ~MappedFileFault();
  MappedFileFault(const MappedFileFault&) = delete;
  MappedFileFault& operator=(const MappedFileFault&) = delete;

 private:
  struct sigaction before_ {};
};

}  // namespace train

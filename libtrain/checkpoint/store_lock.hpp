#pragma once

#include <filesystem>

#include "libtrain/checkpoint/file.hpp"

namespace train {

/// Claims a directory of checkpoints for one writer, for as long as this lives; the system takes it
/// back from a process that died.
class StoreLock {
 public:
  StoreLock() = default;
  /// Throws Error when another job has it.
  explicit StoreLock(const std::filesystem::path& directory);

  bool held() const { return file_.is_open(); }

 private:
  File file_;
};

}  // namespace train

#include "libtrain/available_memory.hpp"

#include <algorithm>
#include <fstream>
#include <string>

namespace train {
namespace {

// The number behind a name, in the unit that the file has.
std::optional<std::int64_t> number_behind(const char* path, const std::string& name) {
  std::ifstream file(path);
  std::string word;
  std::int64_t value = 0;
  while (file >> word) {
    if (word == name) return file >> value ? std::optional(value) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<std::int64_t> number_in(const char* path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<std::int64_t> available_host_bytes() {
  std::optional<std::int64_t> available = number_behind("/proc/meminfo", "MemAvailable:");
  if (available) *available *= 1024;
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto used = number_in("/sys/fs/cgroup/memory.current");
  if (limit && used) {
    // Files that the container has read count as used, and make room when it is wanted.
    const auto files = number_behind("/sys/fs/cgroup/memory.stat", "file").value_or(0);
    const std::int64_t left = *limit - *used + files;
    available = available ? std::min(*available, left) : left;
  }
  return available;
}

}  // namespace train

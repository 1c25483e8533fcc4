#include "libtrain/memory_forecast.hpp"

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

std::int64_t state_bytes_per_rank(const GptConfig& config, DataType type,
                                  const OptimizerOptions& options, int data_ranks,
                                  int tensor_ranks) {
  const auto own = static_cast<double>(config.parameter_count()) / tensor_ranks;
  const auto share = [&](Zero divided_from, double bytes) {
    return options.zero >= divided_from ? bytes / data_ranks : bytes;
  };
  const double master = type == DataType::bf16 ? 4.0 : 0.0;
  const double moments = options.moments ? 8.0 : 0.0;
  const double bytes = share(Zero::stage3, static_cast<double>(size_of(type))) +
                       share(Zero::stage2, static_cast<double>(size_of(options.gradient_type))) +
                       share(Zero::stage1, master + moments);
  return static_cast<std::int64_t>(own * bytes);
}

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

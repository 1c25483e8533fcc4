#include "libtrain/memory_report.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace train {
namespace {

// Few enough to read; of more ranks the table shows those with the least and the most.
constexpr int ranks_shown = 16;
constexpr std::size_t columns = memory_uses.size() + 1;
constexpr auto lanes_column = static_cast<std::size_t>(MemoryUse::lanes);

bool passes(MemoryUse use) {
  return use == MemoryUse::activations || use == MemoryUse::communication ||
         use == MemoryUse::lanes;
}

std::string line(const std::string& label, std::span<const std::int64_t> bytes, bool has_lanes) {
  std::string text = fmt::format("{:<12}", label);
  for (std::size_t i = 0; i < columns; ++i) {
    if (i == lanes_column && !has_lanes) continue;
    text += fmt::format(" {:>12.3f}", static_cast<double>(bytes[i]) / (1 << 20));
  }
  return text + "\n";
}

}  // namespace

MemoryUsage memory_usage(const Device& device) {
  MemoryUsage usage;
  for (const MemoryUse use : memory_uses) {
    const Memory::Statistics statistics = device.memory(use).statistics();
    const auto i = static_cast<std::size_t>(use);
    usage.now[i] = static_cast<std::int64_t>(statistics.bytes_in_use);
    usage.peak[i] = static_cast<std::int64_t>(statistics.bytes_in_use_peak);
    usage.reserved = static_cast<std::int64_t>(statistics.bytes_reserved);
  }
  return usage;
}

void reset_memory_peaks(const Device& device) {
  for (const MemoryUse use : memory_uses) device.memory(use).reset_peak();
}

std::string memory_report(const Device& device, Communicator& world) {
  const MemoryUsage usage = memory_usage(device);
  std::array<std::int64_t, columns> own{};
  for (const MemoryUse use : memory_uses) {
    own[static_cast<std::size_t>(use)] = passes(use) ? usage.peak_of(use) : usage.now_of(use);
  }
  own.back() = usage.reserved;
  std::vector<std::int64_t> all(columns * static_cast<std::size_t>(world.size()));
  const std::vector<std::size_t> counts(static_cast<std::size_t>(world.size()), columns);
  world.all_gather(std::span(own), std::span(all), counts).wait();

  // A column of its own in jobs of several clusters alone.
  bool has_lanes = false;
  for (std::size_t i = lanes_column; i < all.size(); i += columns) has_lanes |= all[i] > 0;
  std::string text = fmt::format("{:<12}", "memory, MiB");
  for (const MemoryUse use : memory_uses) {
    if (use == MemoryUse::lanes && !has_lanes) continue;
    text += fmt::format(" {:>12}", fmt::format("{}{}", name_of(use), passes(use) ? "^" : ""));
  }
  text += fmt::format(" {:>12}\n", "from system");
  const auto of_rank = [&](std::size_t rank) {
    return std::span<const std::int64_t>(all).subspan(rank * columns, columns);
  };
  const auto ranks = static_cast<std::size_t>(world.size());
  if (world.size() <= ranks_shown) {
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      text += line(fmt::format("rank {}", rank), of_rank(rank), has_lanes);
    }
  } else {
    std::array<std::int64_t, columns> least = own;
    std::array<std::int64_t, columns> most = own;
    for (std::size_t i = 0; i < all.size(); ++i) {
      least[i % columns] = std::min(least[i % columns], all[i]);
      most[i % columns] = std::max(most[i % columns], all[i]);
    }
    text += line("least", least, has_lanes) + line("most", most, has_lanes);
  }
  text += "^ the most at once during the run; the others are what stays between steps\n";
  if (has_lanes) text += "lanes are in the host's memory, beside what is from the system\n";
  return text;
}

}  // namespace train

#pragma once

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::bench {

/// The value of a benchmark's flag, from `least` to what an int holds. Throws Error with its name.
inline int whole_number(std::string_view flag, const std::string& value, int least = 1) {
  constexpr std::int64_t most = std::numeric_limits<int>::max();
  char* end = nullptr;
  const std::int64_t found = std::strtoll(value.c_str(), &end, 10);
  if (value.empty() || *end != '\0' || found < least || found > most) {
    throw Error(fmt::format("{} {}: it takes a number from {} to {}", flag, value, least, most));
  }
  return static_cast<int>(found);
}

}  // namespace train::bench

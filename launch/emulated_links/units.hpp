#pragma once

#include <chrono>
#include <string>

namespace train::emulation {

using Duration = std::chrono::nanoseconds;

/// "80ms", "1.5s", "200us", "0". Throws std::invalid_argument that says what was expected.
Duration parse_duration(const std::string& text);

/// Bits per second: "200mbit", "1gbit", "64kbit"; "none" is 0, for no limit. Throws likewise.
double parse_rate(const std::string& text);

/// "0.01%" or "0.0001"; 0 to 1, without 1. Throws likewise.
double parse_fraction(const std::string& text);

}  // namespace train::emulation

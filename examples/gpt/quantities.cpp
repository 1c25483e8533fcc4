#include "examples/gpt/quantities.hpp"

#include <array>
#include <cmath>
#include <cstdlib>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace {

using Unit = std::pair<const char*, double>;

double parse(const std::string& text, const char* flag, std::span<const Unit> units,
             const char* example) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  for (const auto& [name, factor] : units) {
    if (end == text.c_str() || std::string(end) != name) continue;
    if (std::isfinite(value) && value > 0.0 && value * factor < 0x1p62) return value * factor;
  }
  std::string known;
  for (const auto& [name, factor] : units) known += fmt::format(" {}", name);
  throw train::Error(fmt::format("{} {}: write a number above 0 and one of{}, as in {}", flag, text,
                                 known, example));
}

}  // namespace

std::int64_t parse_bytes(const std::string& text, const char* flag) {
  constexpr std::array<Unit, 6> units = {
      {{"MB", 1e6}, {"MiB", 0x1p20}, {"GB", 1e9}, {"GiB", 0x1p30}, {"TB", 1e12}, {"TiB", 0x1p40}}};
  return static_cast<std::int64_t>(parse(text, flag, units, "80GB"));
}

double parse_bytes_per_s(const std::string& text, const char* flag) {
  constexpr std::array<Unit, 5> units = {
      {{"MB/s", 1e6}, {"GB/s", 1e9}, {"TB/s", 1e12}, {"mbit", 1e6 / 8}, {"gbit", 1e9 / 8}}};
  return parse(text, flag, units, "300GB/s or 400gbit");
}

std::string shown_bytes(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.1f} MB", bytes * 1e-6)
                     : fmt::format("{:.1f} GB", bytes * 1e-9);
}

#include "launch/emulated_links/units.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace train::emulation {
namespace {

using Unit = std::pair<std::string_view, double>;

// The number and the factor of its unit; nothing if it is not one, or negative.
std::optional<double> measure(std::string_view text, std::span<const Unit> units) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0 || !std::isfinite(number)) return std::nullopt;
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  if (unit.empty() && number == 0) return 0;
  for (const auto& [name, factor] : units) {
    if (unit == name) return number * factor;
  }
  return std::nullopt;
}

[[noreturn]] void refuse(const std::string& text, const char* expected) {
  throw std::invalid_argument("\"" + text + "\" is no " + expected);
}

}  // namespace

Duration parse_duration(const std::string& text) {
  static constexpr std::array<Unit, 4> units{{{"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}}};
  const auto found = measure(text, units);
  if (!found || *found > 3600e9) refuse(text, "duration such as 80ms, 1.5s or 200us (to an hour)");
  return Duration(std::llround(*found));
}

double parse_rate(const std::string& text) {
  static constexpr std::array<Unit, 4> units{
      {{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}}};
  if (text == "none") return 0;
  const auto found = measure(text, units);
  if (!found || *found < 1000) refuse(text, "rate such as 200mbit, 1gbit or 64kbit, or none");
  return *found;
}

double parse_fraction(const std::string& text) {
  static constexpr std::array<Unit, 2> units{{{"%", 0.01}, {"", 1}}};
  const auto found = measure(text, units);
  if (!found || *found >= 1) refuse(text, "loss such as 0.01% or 0.0001");
  return *found;
}

}  // namespace train::emulation

#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace train {

/// Parses the command line of a program that is no job, and throws Error that names the flag when
/// it is wrong. Returns the exit status when nothing is left to do: help was printed.
std::optional<int> parse_flags(CLI::App& app, int argc, const char* const* argv);

/// What CLI11 takes for another value than was meant, in words that name the flag; "" where nothing
/// is. An empty value, as of a script's variable that is not set, would count as not given: only
/// the flags that are named here may have one.
std::string wrong_value_among(const CLI::App& app, const std::vector<std::string>& may_be_empty);

}  // namespace train

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "libtrain/job.hpp"

/// Parses the job's command line, and throws train::Error that names the flag when it is wrong.
/// Returns the exit status when nothing is left to do: rank 0 has printed the help. Flags with an
/// empty value are refused, but for those that are named here.
std::optional<int> parse_arguments(CLI::App& app, const train::Job& job,
                                   const std::vector<std::string>& may_be_empty = {});

/// The flag that was meant by one that there is not, if one is close: a few letters off, or longer.
/// "" if none is.
std::string nearest_flag(const CLI::App& app, const std::string& flag);

/// The flags that `add` adds to the app are refused without the one that is needed.
void add_needing(CLI::Option& needed, CLI::App& app, const std::function<void()>& add);

/// Refuses values below `least`.
CLI::Validator at_least(std::int64_t least);
CLI::Validator above_zero();

/// f32 or bf16; the message names the flag.
train::DataType parse_dtype(const std::string& name, const char* flag = "--dtype");

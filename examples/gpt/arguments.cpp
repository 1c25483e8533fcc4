#include "examples/gpt/arguments.hpp"

#include <cstdio>

#include <fmt/format.h>

std::optional<int> parse_arguments(CLI::App& app, const train::Job& job) {
  try {
    app.parse(job.argc(), job.argv());
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    if (job.is_root()) fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    throw train::Error(fmt::format("{} ({} --help lists the flags)", error.what(), app.get_name()));
  }
}

train::DataType parse_dtype(const std::string& name, const char* flag) {
  if (name == "f32") return train::DataType::f32;
  if (name == "bf16") return train::DataType::bf16;
  throw train::Error(fmt::format("{} {}: known are f32 and bf16", flag, name));
}

#include "examples/gpt/arguments.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "collectives/flags/parse_flags.hpp"

namespace {

// Insertions, removals and replacements that turn one into the other (Levenshtein).
std::size_t edits_between(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

// What is no flag of the program's, in words; "" when all are. A value behind one is its flag's.
std::string unknown_among(const CLI::App& app, const std::vector<std::string>& extras) {
  if (extras.empty()) return "";
  const auto flag =
      std::ranges::find_if(extras, [](const auto& extra) { return extra.starts_with("-"); });
  if (flag == extras.end()) return fmt::format("{}: not expected here", extras.front());
  const std::string name = flag->substr(0, flag->find('='));
  const std::string nearest = nearest_flag(app, name);
  return nearest.empty() ? fmt::format("{}: no such flag", name)
                         : fmt::format("{}: no such flag; did you mean {}?", name, nearest);
}

// Refuses those that are too small, in words that end with what they must be.
CLI::Validator numbers(std::function<bool(double)> are_large_enough, std::string must_be) {
  return {[=](std::string& text) -> std::string {
            char* end = nullptr;
            const double value = std::strtod(text.c_str(), &end);
            // What is no number is refused by who reads it.
            if (end == text.c_str() || are_large_enough(value)) return "";
            return fmt::format("{} is too small; it must be {}", text, must_be);
          },
          ""};
}

}  // namespace

std::string nearest_flag(const CLI::App& app, const std::string& flag) {
  constexpr std::size_t close = 2;
  std::string nearest;
  std::size_t fewest = close + 1;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      const std::string known = "--" + name;
      if (flag.size() < 4 || !known.starts_with(flag.substr(0, 3))) continue;
      const std::size_t edits = known.starts_with(flag) ? 1 : edits_between(flag, known);
      if (edits < fewest) {
        nearest = known;
        fewest = edits;
      }
    }
  }
  return nearest;
}

std::optional<int> parse_arguments(CLI::App& app, const train::Job& job,
                                   const std::vector<std::string>& may_be_empty) {
  app.allow_extras();
  const auto refuse = [&](const std::string& why) {
    throw train::Error(fmt::format("{} ({} --help lists the flags)", why, app.get_name()));
  };
  // Also where CLI11 refuses: a flag that is missing may be there under a wrong name, and to
  // its 2.4 a number that is too large is none.
  const auto refuse_what_is_wrong = [&] {
    for (const std::string& why :
         {unknown_among(app, app.remaining()), train::wrong_value_among(app, may_be_empty)}) {
      if (!why.empty()) refuse(why);
    }
  };
  try {
    app.parse(job.argc(), job.argv());
    refuse_what_is_wrong();
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    if (job.is_root()) fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    refuse_what_is_wrong();
    refuse(error.what());
  }
  return std::nullopt;
}

void add_needing(CLI::Option& needed, CLI::App& app, const std::function<void()>& add) {
  const std::vector<CLI::Option*> before = app.get_options();
  add();
  for (CLI::Option* option : app.get_options()) {
    if (std::ranges::find(before, option) == before.end()) option->needs(&needed);
  }
}

CLI::Validator at_least(std::int64_t least) {
  return numbers([least](double value) { return value >= static_cast<double>(least); },
                 fmt::format("at least {}", least));
}

CLI::Validator above_zero() {
  return numbers([](double value) { return value > 0.0; }, "above 0");
}

train::DataType parse_dtype(const std::string& name, const char* flag) {
  if (name == "f32") return train::DataType::f32;
  if (name == "bf16") return train::DataType::bf16;
  throw train::Error(fmt::format("{} {}: known are f32 and bf16", flag, name));
}

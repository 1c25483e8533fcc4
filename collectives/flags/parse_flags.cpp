#include "collectives/flags/parse_flags.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

// CLI11 2.3 reads 010 as 8, as C does.
bool is_octal(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9';
}

// In words behind the flag and its value; "" where it is one that was meant.
std::string wrong_in(const std::string& text, std::string_view type) {
  const bool is_signed = type.starts_with("INT"), is_unsigned = type.starts_with("UINT");
  const bool is_number = is_signed || is_unsigned || type.starts_with("FLOAT");
  if (text.empty()) return is_number ? "is no number" : "is empty; give it a value or leave it out";
  if (is_unsigned && text.starts_with('-')) return "must not be negative";
  if ((is_signed || is_unsigned) && is_octal(text)) return "write it without the 0 before it";
  errno = 0;
  if (is_signed) std::strtoll(text.c_str(), nullptr, 0);
  if (is_unsigned) std::strtoull(text.c_str(), nullptr, 0);
  return errno == ERANGE ? "is too large" : "";
}

}  // namespace

std::optional<int> parse_flags(CLI::App& app, int argc, const char* const* argv) {
  std::string wrong;
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    wrong = error.what();
  }
  // Also where CLI11 refuses: to its 2.4 a number that is too large is none.
  if (const std::string value = wrong_value_among(app, {}); !value.empty()) wrong = value;
  if (wrong.empty()) return std::nullopt;
  throw Error(fmt::format("{} ({} --help lists the {})", wrong, app.get_name(),
                          app.get_subcommands({}).empty() ? "flags" : "commands"));
}

std::string wrong_value_among(const CLI::App& app, const std::vector<std::string>& may_be_empty) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name(), type = option->get_type_name();
    const bool is_free = std::ranges::find(may_be_empty, name) != may_be_empty.end();
    for (const std::string& text : option->results()) {
      if (text.empty() && is_free) continue;
      const std::string wrong = wrong_in(text, type);
      if (wrong.empty()) continue;
      return fmt::format("{} {}: {}", name, text.empty() ? "\"\"" : text, wrong);
    }
  }
  // Groups of options and commands are apps of their own to CLI11.
  for (const CLI::App* part : app.get_subcommands({})) {
    if (std::string wrong = wrong_value_among(*part, may_be_empty); !wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace train

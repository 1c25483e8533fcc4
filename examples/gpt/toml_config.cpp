#include "examples/gpt/toml_config.hpp"

#include <iterator>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "collectives/error.hpp"
#include "examples/gpt/arguments.hpp"

namespace {

std::string to_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (const auto* whole = node.as_integer()) return fmt::format("{}", whole->get());
  if (const auto* real = node.as_floating_point()) return fmt::format("{}", real->get());
  throw train::Error("is neither text, number, boolean nor a list of those");
}

std::vector<std::string> values_of(const toml::node& node, const CLI::Option& option) {
  const auto* list = node.as_array();
  if (list == nullptr) return {to_text(node)};
  if (option.get_items_expected_max() <= 1) {
    throw train::Error(fmt::format("is a list, but {} takes one value: write one, without brackets",
                                   option.get_name()));
  }
  std::vector<std::string> values;
  for (const toml::node& element : *list) values.push_back(to_text(element));
  return values;
}

CLI::Option& option_of(CLI::App& app, const std::string& key) {
  CLI::Option* option = app.get_option_no_throw("--" + key);
  if (option != nullptr && option->get_configurable()) return *option;
  const std::string nearest = nearest_flag(app, "--" + key);
  const bool is_key = !nearest.empty() && app.get_option(nearest)->get_configurable();
  throw train::Error(is_key ? fmt::format("no such key; did you mean {}?", nearest.substr(2))
                            : "no such key; keys are flags' names");
}

void apply(CLI::App& app, const std::string& key, const toml::node& node) {
  CLI::Option& option = option_of(app, key);
  std::vector<std::string> values = values_of(node, option);
  const bool given = !option.empty();
  if (given) return;  // the command line wins
  const bool takes_none = option.get_expected_min() == 0;
  if (!takes_none) {
    option.add_result(values);
  } else if (!node.is_boolean()) {
    throw train::Error("is neither true nor false");
  } else if (node.as_boolean()->get()) {
    option.add_result("true");
  }
  if (!option.empty()) option.run_callback();
}

}  // namespace

std::vector<CLI::ConfigItem> TomlConfig::from_config(std::istream& input) const {
  const std::string text(std::istreambuf_iterator<char>(input), {});
  const std::string file = app_.get_config_ptr()->as<std::string>();
  const auto refuse = [&](const toml::source_region& place, const std::string& why) {
    throw train::Error(fmt::format("--config {}, line {}: {}", file, place.begin.line, why));
  };
  try {
    for (const auto& [key, node] : toml::parse(text)) {
      try {
        apply(app_, std::string(key.str()), node);
      } catch (const CLI::ParseError& error) {
        refuse(node.source(), error.what());
      } catch (const train::Error& error) {
        refuse(node.source(), fmt::format("\"{}\": {}", key.str(), error.what()));
      }
    }
  } catch (const toml::parse_error& error) {
    refuse(error.source(), std::string(error.description()));
  }
  return {};
}

std::string TomlConfig::to_config(const CLI::App*, bool, bool, std::string) const {
  throw train::Error("configurations are read, not written");
}

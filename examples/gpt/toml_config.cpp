#include "examples/gpt/toml_config.hpp"

#include <iterator>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "collectives/error.hpp"

namespace {

std::string to_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (const auto* whole = node.as_integer()) return fmt::format("{}", whole->get());
  if (const auto* real = node.as_floating_point()) return fmt::format("{}", real->get());
  throw train::Error("a value is neither text, number, boolean nor a list of those");
}

CLI::ConfigItem to_item(std::string_view key, const toml::node& node) {
  CLI::ConfigItem item;
  item.name = std::string(key);
  if (const auto* list = node.as_array()) {
    for (const auto& element : *list) item.inputs.push_back(to_text(element));
  } else {
    item.inputs.push_back(to_text(node));
  }
  return item;
}

}  // namespace

std::vector<CLI::ConfigItem> TomlConfig::from_config(std::istream& input) const {
  const std::string text(std::istreambuf_iterator<char>(input), {});
  std::vector<CLI::ConfigItem> found;
  try {
    for (const auto& [key, node] : toml::parse(text)) {
      if (app_.get_option_no_throw("--" + std::string(key.str())) == nullptr) {
        throw train::Error(
            fmt::format("--config: unknown key \"{}\"; keys are flags' names", key.str()));
      }
      try {
        found.push_back(to_item(key.str(), node));
      } catch (const train::Error& error) {
        throw train::Error(fmt::format("--config: key \"{}\": {}", key.str(), error.what()));
      }
    }
  } catch (const toml::parse_error& error) {
    throw train::Error(
        fmt::format("--config: line {}: {}", error.source().begin.line, error.description()));
  }
  return found;
}

std::string TomlConfig::to_config(const CLI::App*, bool, bool, std::string) const {
  throw train::Error("configurations are read, not written");
}

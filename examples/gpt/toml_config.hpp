#pragma once

#include <CLI/CLI.hpp>

/// Reads `--config FILE.toml`: keys are the flags' names, values their arguments. Flags on the
/// command line win over the file. Throws train::Error that names file, line and key.
class TomlConfig final : public CLI::Config {
 public:
  /// Knows the keys and the file by `app`, which owns it.
  explicit TomlConfig(CLI::App& app) : app_(app) {}

  /// Gives the flags their values, and returns nothing: what a flag refuses has a place in the file
  /// here, and none once it is an item.
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;
  /// Not offered: the programs only read configurations.
  std::string to_config(const CLI::App*, bool, bool, std::string) const override;

 private:
  CLI::App& app_;
};

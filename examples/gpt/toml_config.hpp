#pragma once

#include <CLI/CLI.hpp>

/// Reads `--config FILE.toml`: keys are the flags' names, values their arguments. Flags on the
/// command line win over the file.
class TomlConfig final : public CLI::Config {
 public:
  /// Knows the keys by `app`, which owns it.
  explicit TomlConfig(const CLI::App& app) : app_(app) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;
  /// Not offered: the programs only read configurations.
  std::string to_config(const CLI::App*, bool, bool, std::string) const override;

 private:
  const CLI::App& app_;
};

#include "examples/gpt/starting_weights.hpp"

#include <system_error>

#include <fmt/format.h>

namespace {

namespace fs = std::filesystem;

fs::path checkpoint_in(const fs::path& directory) {
  std::error_code none;
  if (fs::exists(directory / train::Manifest::file_name, none)) return directory;
  const auto found = train::CheckpointStore(directory).newest_first();
  if (!found.empty()) return found.front().directory;
  throw train::Error(
      fmt::format("{}: holds no checkpoint; models of Hugging Face's are brought in "
                  "by checkpoint_tool import",
                  directory.string()));
}

}  // namespace

StartingWeights::StartingWeights(const std::string& path) {
  std::error_code none;
  if (!fs::is_directory(path, none)) {
    file_.emplace(path);
    config_ = file_->config();
    tokenizer_ = file_->tokenizer();
    return;
  }
  checkpoint_.emplace(checkpoint_in(path));
  auto run = train::RunState::from_json(checkpoint_->extra(), checkpoint_->directory());
  config_ = run.config;
  tokenizer_ = std::move(run.tokenizer);
}

void StartingWeights::load(train::Gpt& model) {
  if (file_) return file_->load(model);
  train::load_parameters(*checkpoint_, model);
}

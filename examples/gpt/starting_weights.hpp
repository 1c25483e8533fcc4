#pragma once

#include <memory>
#include <optional>
#include <string>

#include "libtrain/train.hpp"

/// Trained weights that a program starts from: a safetensors file that --save-weights wrote, a
/// checkpoint, or a directory of checkpoints (its newest).
class StartingWeights {
 public:
  /// Throws Error naming the path.
  explicit StartingWeights(const std::string& path);

  const train::GptConfig& config() const { return config_; }
  /// Null when none came with the weights.
  const std::shared_ptr<const train::Tokenizer>& tokenizer() const { return tokenizer_; }
  /// After parallelize(), before an optimizer: what this rank holds.
  void load(train::Gpt& model);

 private:
  std::optional<train::WeightsFile> file_;
  std::optional<train::CheckpointReader> checkpoint_;
  train::GptConfig config_;
  std::shared_ptr<const train::Tokenizer> tokenizer_;
};

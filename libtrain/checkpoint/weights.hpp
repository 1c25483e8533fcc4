#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "collectives/communicator.hpp"
#include "libtrain/checkpoint/safetensors.hpp"
#include "libtrain/data/tokenizer.hpp"
#include "libtrain/model/gpt.hpp"
#include "libtrain/parallel/logical_tensor.hpp"

namespace train {

/// A model's weights, configuration and tokenizer in one safetensors file: tensors under the
/// model's own names, `libtrain.config` and `libtrain.tokenizer` in the metadata.
/// `tokenizer` may be null: the file then holds none. Throws Error naming the file.
void save_weights(const std::filesystem::path& path, const Gpt& model, const Tokenizer* tokenizer);
/// The same from parameters in any layout (see ShardedOptimizer::parameters()): rank 0 gathers and
/// writes one tensor after another. Collective over `world`.
void save_weights(const std::filesystem::path& path, const GptConfig& config,
                  std::span<const LogicalTensor> parameters, Communicator& world,
                  const Tokenizer* tokenizer);

/// Whether a file is one that --save-weights wrote, by its header.
bool is_weights_file(const std::filesystem::path& path);

/// The metadata that make a safetensors file of libtrain's tensors a weights file.
std::map<std::string, std::string> weights_metadata(const GptConfig& config,
                                                    const Tokenizer* tokenizer);

/// A weights file, opened.
class WeightsFile {
 public:
  /// Throws Error when the file is not one that save_weights() wrote.
  explicit WeightsFile(const std::filesystem::path& path);

  const GptConfig& config() const { return config_; }
  /// Null when the file holds none.
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }

  /// Fills the model's parameters, or what of them this rank holds after parallelize(), converting
  /// between f32 and bf16. Before an optimizer has taken the model. Throws Error naming the first
  /// tensor that is missing, has another shape, or is not in the model.
  void load(Gpt& model) const;

 private:
  void load(Parameter& parameter, Device& device) const;

  SafetensorsReader reader_;
  GptConfig config_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

}  // namespace train

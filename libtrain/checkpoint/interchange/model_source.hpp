#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "collectives/types.hpp"
#include "libtrain/data/tokenizer.hpp"
#include "libtrain/model/gpt_config.hpp"
#include "libtrain/tensor/shape.hpp"

namespace train {

/// A parameter under libtrain's own name.
struct ModelTensor {
  std::string name;
  Shape shape;
};

/// All parameters of a model, in its order.
std::vector<ModelTensor> model_tensors(const GptConfig& config);

/// A trained model, whatever format it is in, as libtrain names and lays out its parameters. Reads
/// one tensor at a time. Errors name file and tensor.
class ModelSource {
 public:
  virtual ~ModelSource() = default;

  virtual const GptConfig& config() const = 0;
  /// Null when none came with the model.
  virtual std::shared_ptr<const Tokenizer> tokenizer() const = 0;
  /// f32 or bf16: how read() fills.
  virtual DataType type() const = 0;
  /// `out` holds the tensor's elements in type().
  virtual void read(const ModelTensor& tensor, std::span<std::byte> out) = 0;

  /// The same in another type.
  std::vector<std::byte> read_as(const ModelTensor& tensor, DataType type);
};

/// Opens a checkpoint or a directory of checkpoints (its newest), a safetensors file of libtrain, a
/// model as Hugging Face writes it (directory, file or index, with config.json beside), or llm.c's
/// model .bin. From a bf16 checkpoint, `full_precision` takes its f32 copies.
std::unique_ptr<ModelSource> open_model(const std::filesystem::path& path,
                                        bool full_precision = false);

/// A weights file of libtrain: for --init and --weights. Throws Error naming file and tensor.
void write_native(const std::filesystem::path& path, ModelSource& model, DataType type);

/// A checkpoint at step 0 in a directory of checkpoints, without optimizer state: for --init,
/// --checkpoint and fine-tuning. Holds the whole model in memory.
std::filesystem::path write_model_checkpoint(const std::filesystem::path& directory,
                                             ModelSource& model, DataType type);

}  // namespace train

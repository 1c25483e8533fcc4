#pragma once

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
  /// Null when none came with the model. Throws Error when one did that cannot be read.
  virtual std::shared_ptr<const Tokenizer> tokenizer() const = 0;
  /// f32 or bf16: how read() fills.
  virtual DataType type() const = 0;
  /// `out` holds the tensor's elements in type().
  virtual void read(const ModelTensor& tensor, std::span<std::byte> out) = 0;

  /// The same in another type.
  std::vector<std::byte> read_as(const ModelTensor& tensor, DataType type);
};

}  // namespace train

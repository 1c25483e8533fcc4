#include "libtrain/checkpoint/interchange/model_source.hpp"

#include "libtrain/checkpoint/convert_values.hpp"
#include "libtrain/model/gpt.hpp"

namespace train {

std::vector<ModelTensor> model_tensors(const GptConfig& config) {
  // Values are drawn when they are asked for: never, here.
  const auto device = make_cpu_device(1);
  const Gpt model(config, *device);
  std::vector<ModelTensor> tensors;
  for (const auto& parameter : model.parameters()) {
    tensors.push_back({parameter->name(), parameter->shape()});
  }
  return tensors;
}

std::vector<std::byte> ModelSource::read_as(const ModelTensor& tensor, DataType wanted) {
  const auto count = static_cast<std::size_t>(tensor.shape.elements());
  std::vector<std::byte> values(count * size_of(type()));
  read(tensor, values);
  if (wanted == type()) return values;
  std::vector<std::byte> converted(count * size_of(wanted));
  convert_values({values.data(), count, type()}, {converted.data(), count, wanted});
  return converted;
}

}  // namespace train

#include "libtrain/checkpoint/interchange/native_model.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/local/world.hpp"
#include "libtrain/checkpoint/convert_values.hpp"
#include "libtrain/checkpoint/run_state.hpp"
#include "libtrain/checkpoint/store.hpp"
#include "libtrain/checkpoint/training_state.hpp"
#include "libtrain/checkpoint/weights.hpp"

namespace train {
namespace {

namespace fs = std::filesystem;

std::vector<std::int64_t> extents_of(const Shape& shape) {
  std::vector<std::int64_t> extents;
  for (int i = 0; i < shape.rank(); ++i) extents.push_back(shape[i]);
  return extents;
}

class CheckpointSource final : public ModelSource {
 public:
  CheckpointSource(const fs::path& directory, bool full_precision)
      : reader_(directory),
        state_(RunState::from_json(reader_.extra(), directory)),
        full_precision_(full_precision) {
    for (const ModelTensor& tensor : model_tensors(state_.config)) {
      if (stored(tensor).type != DataType::bf16) type_ = DataType::f32;
      if (stored(tensor).shape != tensor.shape) {
        throw Error(fmt::format("{}: tensor {} is {}, the configuration makes it {}",
                                directory.string(), tensor.name, stored(tensor).shape.to_string(),
                                tensor.shape.to_string()));
      }
    }
  }

  const GptConfig& config() const override { return state_.config; }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return state_.tokenizer; }
  DataType type() const override { return type_; }
  void read(const ModelTensor& tensor, std::span<std::byte> out) override {
    const Manifest::StoredTensor& from = stored(tensor);
    const auto count = static_cast<std::size_t>(tensor.shape.elements());
    std::vector<std::byte> raw(count * size_of(from.type));
    const Block whole = whole_block(tensor.shape);
    reader_.read(from, std::span(&whole, 1), raw);
    convert_values({raw.data(), count, from.type}, {out.data(), count, type()});
  }

 private:
  const Manifest::StoredTensor& stored(const ModelTensor& tensor) const {
    const Manifest& manifest = reader_.manifest();
    const auto* found =
        full_precision_ ? manifest.find(optimizer_part, tensor.name + ".master") : nullptr;
    if (found == nullptr) found = manifest.find(model_part, tensor.name);
    if (found == nullptr) {
      throw Error(
          fmt::format("{}: tensor {} is missing", reader_.directory().string(), tensor.name));
    }
    return *found;
  }

  CheckpointReader reader_;
  RunState state_;
  bool full_precision_;
  DataType type_ = DataType::bf16;
};

// A weights file of libtrain.
class NativeSource final : public ModelSource {
 public:
  explicit NativeSource(const fs::path& path) : weights_(path), file_(path) {
    for (const ModelTensor& tensor : model_tensors(config())) {
      const SafetensorsEntry* entry = file_.find(tensor.name);
      if (entry == nullptr || entry->shape != extents_of(tensor.shape) || !entry->type()) {
        throw Error(
            fmt::format("{}: tensor {} is missing, or has another shape or type than its "
                        "configuration says",
                        path.string(), tensor.name));
      }
      if (*entry->type() == DataType::f32) type_ = DataType::f32;
    }
  }

  const GptConfig& config() const override { return weights_.config(); }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return weights_.tokenizer(); }
  DataType type() const override { return type_; }
  void read(const ModelTensor& tensor, std::span<std::byte> out) override {
    const auto count = static_cast<std::size_t>(tensor.shape.elements());
    const DataType stored = *file_.find(tensor.name)->type();
    std::vector<std::byte> raw(count * size_of(stored));
    file_.read(tensor.name, {raw.data(), count, stored});
    convert_values({raw.data(), count, stored}, {out.data(), count, type_});
  }

 private:
  WeightsFile weights_;
  SafetensorsReader file_;
  DataType type_ = DataType::bf16;
};

}  // namespace

std::unique_ptr<ModelSource> open_checkpoint_model(const fs::path& directory, bool full_precision) {
  return std::make_unique<CheckpointSource>(directory, full_precision);
}

std::unique_ptr<ModelSource> open_weights_model(const fs::path& path) {
  return std::make_unique<NativeSource>(path);
}

void write_native(const fs::path& path, ModelSource& model, DataType type) {
  const auto tensors = model_tensors(model.config());
  std::vector<SafetensorsSpec> specs;
  for (const ModelTensor& tensor : tensors) {
    specs.push_back({tensor.name, type, extents_of(tensor.shape)});
  }
  SafetensorsWriter writer(path, specs, weights_metadata(model.config(), model.tokenizer().get()));
  for (const ModelTensor& tensor : tensors) {
    const auto values = model.read_as(tensor, type);
    writer.write(tensor.name, {values.data(), values.size() / size_of(type), type});
  }
  writer.commit();
}

fs::path write_model_checkpoint(const fs::path& directory, ModelSource& model, DataType type) {
  CheckpointStore store(directory, {.keep = 0});  // whatever is there stays
  const auto held = store.list();
  if (!held.empty() && held.back().step > 0) {
    throw Error(
        fmt::format("{} holds checkpoints of a run (steps {}), which would go on from this model; "
                    "name another directory",
                    directory.string(), steps_of(held)));
  }
  const auto device = make_cpu_device(1);
  CheckpointContents contents;
  contents.parts.push_back({model_part, {}});
  for (const ModelTensor& tensor : model_tensors(model.config())) {
    const auto values = model.read_as(tensor, type);
    const Tensor local(device->memory(), {tensor.shape.elements()}, type);
    local.copy_from_host(values);
    contents.parts[0].tensors.push_back(
        {tensor.name, type, Layout::replicated(tensor.shape, 1), local});
  }
  RunState state;
  state.config = model.config();
  state.tokenizer = model.tokenizer();
  contents.extra = state.to_json();
  fs::path written;
  local::run(1, [&](Communicator& world) { written = store.save(world, contents).directory; });
  return written;
}

}  // namespace train

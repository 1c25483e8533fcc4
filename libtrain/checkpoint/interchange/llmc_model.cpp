#include "libtrain/checkpoint/interchange/llmc_model.hpp"

#include <array>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/file.hpp"

namespace train {
namespace {

namespace fs = std::filesystem;

constexpr std::int32_t magic = 20240326;
constexpr std::int32_t version_f32 = 3;
constexpr std::int32_t version_bf16 = 5;
constexpr std::uint64_t header_bytes = 1024;
constexpr std::int64_t vocabulary_multiple = 128;

using Header = std::array<std::int32_t, header_bytes / sizeof(std::int32_t)>;

// One parameter of all layers, in the file's order.
struct Slot {
  const char* native;  ///< behind "blocks.N." when it is a layer's
  bool in_layers;
  std::int64_t elements;  ///< of one layer
};

std::vector<Slot> slots_of(const GptConfig& config, std::int64_t padded_vocabulary) {
  const std::int64_t width = config.width;
  return {{"token_embedding.weight", false, padded_vocabulary * width},
          {"position_embedding.weight", false, config.context * width},
          {"attention_norm.weight", true, width},
          {"attention_norm.bias", true, width},
          {"attention.qkv.weight", true, 3 * width * width},
          {"attention.qkv.bias", true, 3 * width},
          {"attention.out.weight", true, width * width},
          {"attention.out.bias", true, width},
          {"mlp_norm.weight", true, width},
          {"mlp_norm.bias", true, width},
          {"mlp.up.weight", true, 4 * width * width},
          {"mlp.up.bias", true, 4 * width},
          {"mlp.down.weight", true, 4 * width * width},
          {"mlp.down.bias", true, width},
          {"final_norm.weight", false, width},
          {"final_norm.bias", false, width}};
}

std::uint64_t file_bytes(const std::vector<Slot>& slots, std::int64_t layers, DataType type) {
  std::uint64_t elements = 0;
  for (const Slot& slot : slots) {
    elements += static_cast<std::uint64_t>(slot.elements * (slot.in_layers ? layers : 1));
  }
  return header_bytes + elements * size_of(type);
}

Header read_header(const File& file) {
  Header header{};
  file.read_at(0, std::as_writable_bytes(std::span(header)));
  return header;
}

class LlmcSource final : public ModelSource {
 public:
  explicit LlmcSource(const fs::path& path) : file_(path, File::Mode::read) {
    const Header header = read_header(file_);
    const auto refuse = [&](const std::string& why) {
      throw Error(fmt::format("{}: {}", path.string(), why));
    };
    if (header[0] != magic) refuse("is not a model of llm.c");
    if (header[1] != version_f32 && header[1] != version_bf16) {
      refuse(fmt::format("has version {}; 3 (f32) and 5 (bf16) can be read", header[1]));
    }
    type_ = header[1] == version_f32 ? DataType::f32 : DataType::bf16;
    for (int i = 2; i <= 7; ++i) {
      if (header[i] < 1 || header[i] > 1 << 20) {
        refuse(fmt::format("word {} of its header is {}", i, header[i]));
      }
    }
    config_.context = header[2];
    config_.vocabulary = header[3];
    config_.layers = header[4];
    config_.heads = config_.kv_heads = header[5];
    config_.width = header[6];
    config_.hidden = 4 * config_.width;
    if (config_.width % config_.heads != 0 || header[7] < header[3]) {
      refuse("its header's numbers do not fit each other");
    }
    config_.head_width = config_.width / config_.heads;
    try {
      config_.validate();  // what follows multiplies its sizes
    } catch (const Error& error) {
      refuse(error.what());
    }
    slots_ = slots_of(config_, header[7]);
    const std::uint64_t expected = file_bytes(slots_, config_.layers, type_);
    if (file_.size() != expected) {
      refuse(fmt::format("has {} bytes, its header makes {}: cut off", file_.size(), expected));
    }
  }

  const GptConfig& config() const override { return config_; }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return nullptr; }
  DataType type() const override { return type_; }

  void read(const ModelTensor& tensor, std::span<std::byte> out) override {
    std::uint64_t at = header_bytes;
    for (const Slot& slot : slots_) {
      const auto bytes = static_cast<std::uint64_t>(slot.elements) * size_of(type_);
      for (std::int64_t layer = 0; layer < (slot.in_layers ? config_.layers : 1); ++layer) {
        const std::string name =
            slot.in_layers ? fmt::format("blocks.{}.{}", layer, slot.native) : slot.native;
        if (name == tensor.name) {
          invariant(out.size() <= bytes, "a tensor is not larger than its slot");
          file_.read_at(at, out);
          return;
        }
        at += bytes;
      }
    }
    unreachable("every tensor of GPT-2 has its slot");
  }

 private:
  File file_;
  GptConfig config_;
  DataType type_ = DataType::f32;
  std::vector<Slot> slots_;
};

void check_form(const GptConfig& config) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw Error(fmt::format("llm.c has no such model: {}", what));
  };
  require(config.positions == Positions::learned && config.norm == Norm::layer_norm &&
              config.mlp == MlpKind::gelu,
          "it has learned positions, layer norms and a GELU");
  require(config.tied_head, "its head is tied to the embedding");
  require(config.hidden == 4 * config.width, "its MLP is 4 times as wide as the model");
  require(config.kv_heads == config.heads && config.heads * config.head_width == config.width,
          "its heads share the width evenly");
}

}  // namespace

bool is_llmc_model(const fs::path& path) {
  std::error_code none;
  if (!fs::is_regular_file(path, none) || fs::file_size(path, none) < header_bytes) return false;
  return read_header(File(path, File::Mode::read))[0] == magic;
}

std::unique_ptr<ModelSource> open_llmc_model(const fs::path& path) {
  return std::make_unique<LlmcSource>(path);
}

void write_llmc_model(const fs::path& path, ModelSource& model, DataType type) {
  const GptConfig& config = model.config();
  check_form(config);
  const std::int64_t padded =
      (config.vocabulary + vocabulary_multiple - 1) / vocabulary_multiple * vocabulary_multiple;
  Header header{};
  header[0] = magic;
  header[1] = type == DataType::bf16 ? version_bf16 : version_f32;
  const std::int64_t sizes[] = {config.context, config.vocabulary, config.layers,
                                config.heads,   config.width,      padded};
  for (int i = 0; i < 6; ++i) header[2 + i] = static_cast<std::int32_t>(sizes[i]);
  AtomicFile file(path);
  file.file().write_at(0, std::as_bytes(std::span(header)));
  const auto tensors = model_tensors(config);
  std::uint64_t at = header_bytes;
  for (const Slot& slot : slots_of(config, padded)) {
    for (std::int64_t layer = 0; layer < (slot.in_layers ? config.layers : 1); ++layer) {
      const std::string name =
          slot.in_layers ? fmt::format("blocks.{}.{}", layer, slot.native) : slot.native;
      std::vector<std::byte> values;
      for (const ModelTensor& tensor : tensors) {
        if (tensor.name == name) values = model.read_as(tensor, type);
      }
      // Zeros: padding, and biases that are not there.
      values.resize(static_cast<std::size_t>(slot.elements) * size_of(type));
      file.file().write_at(at, values);
      at += values.size();
    }
  }
  file.commit();
}

}  // namespace train

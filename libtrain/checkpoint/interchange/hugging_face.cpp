#include "libtrain/checkpoint/interchange/hugging_face.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/convert_values.hpp"
#include "libtrain/checkpoint/interchange/hugging_face_names.hpp"
#include "libtrain/checkpoint/safetensors_shards.hpp"

namespace train {
namespace {

namespace fs = std::filesystem;

constexpr const char* config_name = "config.json";
constexpr const char* tokenizer_name = "tokenizer.json";
constexpr const char* tokenizer_config_name = "tokenizer_config.json";
constexpr const char* half_dtype = "F16";

fs::path folder_of(const fs::path& path) {
  std::error_code none;
  return fs::is_directory(path, none) ? path : path.parent_path();
}

// `from` has rows x width elements, `to` width x rows.
void transpose(const std::byte* from, std::byte* to, std::int64_t rows, std::int64_t width,
               std::size_t element_bytes) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < width; ++j) {
      std::memcpy(to + static_cast<std::size_t>(j * rows + i) * element_bytes,
                  from + static_cast<std::size_t>(i * width + j) * element_bytes, element_bytes);
    }
  }
}

class HuggingFaceSource final : public ModelSource {
 public:
  explicit HuggingFaceSource(const fs::path& path)
      : folder_(folder_of(path)), tensors_(path), config_(read_config()), parts_(table()) {
    const fs::path tokenizer = folder_ / tokenizer_name;
    std::error_code none;
    if (!fs::exists(tokenizer, none)) return;
    try {
      tokenizer_ = make_tokenizer("hf:" + tokenizer.string());
    } catch (const Error& error) {
      why_no_tokenizer_ = error.what();  // matters to those who want it
    }
  }

  const GptConfig& config() const override { return config_; }
  std::shared_ptr<const Tokenizer> tokenizer() const override {
    if (why_no_tokenizer_.empty()) return tokenizer_;
    throw Error(
        fmt::format("{}; name another one with --tokenizer, or \"none\"", why_no_tokenizer_));
  }
  DataType type() const override { return type_; }

  void read(const ModelTensor& tensor, std::span<std::byte> out) override {
    for (const HuggingFaceTensor& part : parts_) {
      if (part.native == tensor.name) read_part(part, out);
    }
  }

 private:
  GptConfig read_config() const {
    const fs::path path = folder_ / config_name;
    const File file(path, File::Mode::read);
    std::string text(file.size(), '\0');
    file.read_at(0, std::as_writable_bytes(std::span(text)));
    try {
      return config_from_hugging_face(text);
    } catch (const Error& error) {
      throw Error(fmt::format("{}: {}", path.string(), error.what()));
    }
  }

  // The tensors as this file names them; every one is there with its shape, and nothing else is.
  std::vector<HuggingFaceTensor> table() {
    auto parts = hugging_face_tensors(config_);
    const std::string prefix = hugging_face_prefix(config_);
    const bool base = tensors_.find(parts.front().name) == nullptr;
    std::set<std::string> known;
    for (HuggingFaceTensor& part : parts) {
      if (base && part.name.starts_with(prefix)) part.name.erase(0, prefix.size());
      check(part);
      known.insert(part.name);
    }
    for (const SafetensorsEntry* entry : tensors_.tensors()) {
      if (known.contains(entry->name) || is_left_out(entry->name)) continue;
      throw Error(fmt::format("{}: tensor {} is not one that libtrain's model has",
                              folder_.string(), entry->name));
    }
    return parts;
  }

  void check(const HuggingFaceTensor& part) {
    const SafetensorsEntry* entry = tensors_.find(part.name);
    if (entry == nullptr) {
      throw Error(fmt::format("{}: tensor {} is missing", folder_.string(), part.name));
    }
    if (entry->shape != part.shape()) {
      throw Error(fmt::format("{}: tensor {} is [{}], {} makes it [{}]", folder_.string(),
                              part.name, fmt::join(entry->shape, ", "), config_name,
                              fmt::join(part.shape(), ", ")));
    }
    const auto type = entry->type();
    if (type != DataType::f32 && type != DataType::bf16 && entry->dtype != half_dtype) {
      throw Error(fmt::format("{}: tensor {} is {}; F32, BF16 and F16 can be read",
                              folder_.string(), part.name, entry->dtype));
    }
    if (type != DataType::bf16) type_ = DataType::f32;  // the wider of all; holds any half
  }

  void read_part(const HuggingFaceTensor& part, std::span<std::byte> out) const {
    const SafetensorsEntry& entry = *tensors_.find(part.name);
    const auto count = static_cast<std::size_t>(part.rows * part.width);
    std::vector<std::byte> raw(entry.bytes()), values(count * size_of(type_));
    tensors_.read_bytes(part.name, raw);
    if (entry.dtype == half_dtype) {
      convert_halves(raw, {values.data(), count, type_});
    } else {
      convert_values({raw.data(), count, *entry.type()}, {values.data(), count, type_});
    }
    const auto begin = static_cast<std::size_t>(part.row * part.width) * size_of(type_);
    invariant(begin + values.size() <= out.size(), "a part lies in its tensor");
    if (part.transposed) {
      transpose(values.data(), out.data() + begin, part.width, part.rows, size_of(type_));
    } else {
      std::ranges::copy(values, out.begin() + static_cast<std::ptrdiff_t>(begin));
    }
  }

  fs::path folder_;
  SafetensorsModel tensors_;
  GptConfig config_;
  DataType type_ = DataType::bf16;
  std::vector<HuggingFaceTensor> parts_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string why_no_tokenizer_;
};

std::vector<std::byte> exported(const HuggingFaceTensor& part, ModelSource& model, DataType type) {
  const auto count = static_cast<std::size_t>(part.rows * part.width);
  std::vector<std::byte> values(count * size_of(type));  // zeros
  if (part.native.empty()) return values;
  for (const ModelTensor& tensor : model_tensors(model.config())) {
    if (tensor.name != part.native) continue;
    const std::vector<std::byte> whole = model.read_as(tensor, type);
    const std::byte* rows =
        whole.data() + static_cast<std::size_t>(part.row * part.width) * size_of(type);
    if (part.transposed) {
      transpose(rows, values.data(), part.rows, part.width, size_of(type));
    } else {
      std::copy_n(rows, values.size(), values.begin());
    }
    return values;
  }
  unreachable("a tensor of the table is one of the model's");
}

void write_text(const fs::path& path, const std::string& text) {
  AtomicFile file(path);
  file.file().write(text);
  file.commit();
}

}  // namespace

bool is_hugging_face(const fs::path& path) {
  std::error_code none;
  return fs::exists(folder_of(path) / config_name, none);
}

std::unique_ptr<ModelSource> open_hugging_face(const fs::path& path) {
  return std::make_unique<HuggingFaceSource>(path);
}

bool write_hugging_face(const fs::path& directory, ModelSource& model, DataType type,
                        std::uint64_t shard_bytes_max) {
  const auto tokenizer = model.tokenizer();
  const std::string config = hugging_face_config(model.config(), type, tokenizer.get());
  const auto parts = hugging_face_tensors(model.config());
  std::vector<SafetensorsSpec> specs;
  for (const HuggingFaceTensor& part : parts) specs.push_back({part.name, type, part.shape()});
  const auto shards = shard_safetensors(specs, shard_bytes_max);
  auto part = parts.begin();
  for (const SafetensorsShard& shard : shards) {
    // transformers wants to know that the numbers are meant for PyTorch's names.
    SafetensorsWriter writer(directory / shard.file, shard.tensors, {{"format", "pt"}});
    for (std::size_t i = 0; i < shard.tensors.size(); ++i, ++part) {
      const auto values = exported(*part, model, type);
      writer.write(part->name, {values.data(), values.size() / size_of(type), type});
    }
    writer.commit();
  }
  if (shards.size() > 1) write_safetensors_index(directory, shards);
  remove_other_model(directory, shards);
  const auto tokenizer_json = tokenizer == nullptr ? std::nullopt : tokenizer->to_hugging_face();
  if (tokenizer_json) {
    write_text(directory / tokenizer_name, *tokenizer_json);
    write_text(directory / tokenizer_config_name,
               hugging_face_tokenizer_config(model.config(), *tokenizer));
  } else {
    for (const char* name : {tokenizer_name, tokenizer_config_name}) {
      fs::remove(directory / name);  // another model's
    }
  }
  write_text(directory / config_name, config);
  return tokenizer_json.has_value();
}

}  // namespace train

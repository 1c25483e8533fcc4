#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <optional>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "collectives/error.hpp"
#include "libtrain/model/gpt_config.hpp"

namespace train {
namespace {

GptConfig gpt2(std::int64_t layers, std::int64_t heads, std::int64_t width) {
  GptConfig config;
  config.layers = layers;
  config.heads = config.kv_heads = heads;
  config.width = width;
  config.head_width = width / heads;
  config.hidden = 4 * width;
  config.context = 1024;
  config.vocabulary = 50257;
  return config;
}

GptConfig llama(std::int64_t layers, std::int64_t heads, std::int64_t kv_heads, std::int64_t width,
                std::int64_t hidden) {
  GptConfig config;
  config.layers = layers;
  config.heads = heads;
  config.kv_heads = kv_heads;
  config.width = width;
  config.head_width = width / heads;
  config.hidden = hidden;
  config.context = 8192;
  config.vocabulary = 128256;
  config.norm = Norm::rms_norm;
  config.positions = Positions::rotary;
  config.mlp = MlpKind::swiglu;
  config.bias = false;
  config.tied_head = false;
  config.rope_theta = 500000.0f;
  return config;
}

using Maker = GptConfig (*)();

struct NamedModel {
  const char* name;
  Maker make;
};

constexpr NamedModel named_models[] = {
    {"nano", gpt_nano},       {"gpt2-124m", gpt2_124m},   {"gpt2-350m", gpt2_350m},
    {"gpt2-774m", gpt2_774m}, {"gpt2-1558m", gpt2_1558m}, {"llama-1b", llama_1b},
    {"llama-8b", llama_8b},
};

// The bases that a list of sizes may start from: named models, and the two bare styles.
std::optional<GptConfig> find_base(std::string_view name) {
  for (const auto& model : named_models) {
    if (name == model.name) return model.make();
  }
  if (name == "gpt2") return gpt_nano();
  if (name == "llama") {
    GptConfig config = llama(4, 4, 4, 128, 344);
    config.context = 128;
    config.vocabulary = 256;
    config.rope_theta = 10000.0f;
    return config;
  }
  return std::nullopt;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

using Sizes = std::map<std::string, std::int64_t, std::less<>>;

Sizes parse_sizes(std::string_view whole, std::span<const std::string_view> parts) {
  static constexpr std::string_view known[] = {"layers", "heads",   "kv_heads",  "width",
                                               "hidden", "context", "vocabulary"};
  Sizes sizes;
  for (const auto part : parts) {
    const auto equals = part.find('=');
    const auto key = part.substr(0, equals);
    if (equals == std::string_view::npos || std::ranges::find(known, key) == std::end(known)) {
      throw Error(
          fmt::format("--model \"{}\": \"{}\" is no size; write name=value with one of {}, "
                      "or one of the models {}",
                      whole, part, fmt::join(known, ", "), fmt::join(model_names(), ", ")));
    }
    const auto digits = part.substr(equals + 1);
    std::int64_t value = 0;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    constexpr std::int64_t most = std::int64_t{1} << 31;  // products of two stay within 64 bits
    if (failed != std::errc{} || end != digits.data() + digits.size() || std::abs(value) > most) {
      throw Error(fmt::format("--model \"{}\": {} is \"{}\", not a whole number up to {}", whole,
                              key, digits, most));
    }
    sizes[std::string(key)] = value;
  }
  return sizes;
}

void apply(const Sizes& sizes, std::string_view whole, GptConfig& config) {
  const auto set = [&](const char* key, std::int64_t& field) {
    const auto found = sizes.find(key);
    if (found != sizes.end()) field = found->second;
    return found != sizes.end();
  };
  set("layers", config.layers);
  set("context", config.context);
  set("vocabulary", config.vocabulary);
  const bool heads_given = set("heads", config.heads);
  if (!set("kv_heads", config.kv_heads) && heads_given) config.kv_heads = config.heads;
  const bool width_given = set("width", config.width);
  if (!set("hidden", config.hidden) && width_given) {
    // Llama's rule keeps SwiGLU's three matrices as large as the two of a 4x MLP.
    config.hidden =
        config.mlp == MlpKind::gelu ? 4 * config.width : (config.width * 8 / 3 + 31) / 32 * 32;
  }
  if (config.heads > 0 && config.width % config.heads != 0) {
    throw Error(
        fmt::format("--model \"{}\": {} heads do not divide the width {}; choose a width "
                    "that is a multiple of the heads",
                    whole, config.heads, config.width));
  }
  if (config.heads > 0) config.head_width = config.width / config.heads;
}

}  // namespace

GptConfig gpt_nano() {
  GptConfig config = gpt2(4, 4, 128);
  config.context = 128;
  config.vocabulary = 256;
  return config;
}
GptConfig gpt2_124m() {
  return gpt2(12, 12, 768);
}
GptConfig gpt2_350m() {
  return gpt2(24, 16, 1024);
}
GptConfig gpt2_774m() {
  return gpt2(36, 20, 1280);
}
GptConfig gpt2_1558m() {
  return gpt2(48, 25, 1600);
}

GptConfig llama_1b() {
  GptConfig config = llama(16, 32, 8, 2048, 8192);
  config.tied_head = true;
  return config;
}
GptConfig llama_8b() {
  return llama(32, 32, 8, 4096, 14336);
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& model : named_models) names.emplace_back(model.name);
  return names;
}

GptConfig parse_model(std::string_view text) {
  const auto parts = split(text, ',');
  std::span<const std::string_view> sizes(parts);
  GptConfig config = gpt_nano();
  if (const auto base = find_base(parts.front())) {
    config = *base;
    sizes = sizes.subspan(1);
  } else if (parts.front().find('=') == std::string_view::npos) {
    throw Error(
        fmt::format("--model \"{}\": there is no such model; known are {}, or sizes such "
                    "as layers=6,heads=6,width=384",
                    parts.front(), fmt::join(model_names(), ", ")));
  }
  apply(parse_sizes(text, sizes), text, config);
  config.validate();
  return config;
}

}  // namespace train

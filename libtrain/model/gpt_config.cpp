#include "libtrain/model/gpt_config.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"

namespace train {
namespace {

// No model is larger. A file that says otherwise would exhaust memory, or overflow what is computed
// of its sizes.
constexpr std::int64_t layers_max = 1 << 16;
constexpr std::int64_t size_max = std::int64_t{1} << 31;
constexpr double values_max = 0x1p48;

// One list of the fields serves reading, writing and, later, comparing configurations.
template <typename Config, typename Visitor>
void visit_fields(Config& config, Visitor&& visit) {
  visit("layers", config.layers);
  visit("heads", config.heads);
  visit("kv_heads", config.kv_heads);
  visit("width", config.width);
  visit("head_width", config.head_width);
  visit("hidden", config.hidden);
  visit("context", config.context);
  visit("vocabulary", config.vocabulary);
  visit("norm", config.norm);
  visit("positions", config.positions);
  visit("mlp", config.mlp);
  visit("bias", config.bias);
  visit("tied_head", config.tied_head);
  visit("norm_eps", config.norm_eps);
  visit("rope_theta", config.rope_theta);
  visit("dropout", config.dropout);
}

const char* to_text(Norm value) {
  return value == Norm::layer_norm ? "layer_norm" : "rms_norm";
}
const char* to_text(Positions value) {
  return value == Positions::learned ? "learned" : "rotary";
}
const char* to_text(MlpKind value) {
  return value == MlpKind::gelu ? "gelu" : "swiglu";
}

template <typename Enum>
void from_text(const std::string& text, Enum& value) {
  for (const Enum candidate : {Enum{0}, Enum{1}}) {
    if (text == to_text(candidate)) {
      value = candidate;
      return;
    }
  }
  throw Error(
      fmt::format("a model's configuration has the unknown value \"{}\"; known are \"{}\" "
                  "and \"{}\"",
                  text, to_text(Enum{0}), to_text(Enum{1})));
}

using Json = nlohmann::ordered_json;

Json json_of(const RotaryScaling& scaling) {
  return {{"factor", scaling.factor},
          {"low_frequency_factor", scaling.low_frequency_factor},
          {"high_frequency_factor", scaling.high_frequency_factor},
          {"original_context", scaling.original_context}};
}

RotaryScaling scaling_from(const Json& json) {
  RotaryScaling scaling;
  json.at("factor").get_to(scaling.factor);
  json.at("low_frequency_factor").get_to(scaling.low_frequency_factor);
  json.at("high_frequency_factor").get_to(scaling.high_frequency_factor);
  json.at("original_context").get_to(scaling.original_context);
  return scaling;
}

void require(bool holds, std::string message) {
  if (!holds) throw Error("model: " + message);
}

// Values in all parameters. No product of two sizes is larger than the whole, so that a type that
// holds the whole holds them.
template <typename Number>
Number count_values(const GptConfig& config) {
  const auto number = [](std::int64_t value) { return static_cast<Number>(value); };
  const Number width = number(config.width), hidden = number(config.hidden);
  const Number vocabulary = number(config.vocabulary), head_width = number(config.head_width);
  const Number qkv_width = number(config.heads + 2 * config.kv_heads) * head_width;
  const Number mlp_in = number(config.mlp == MlpKind::swiglu ? 2 : 1) * hidden;
  const bool norm_bias = config.norm == Norm::layer_norm && config.bias;
  const Number norm_values = number(norm_bias ? 2 : 1) * width;
  Number block = width * qkv_width + number(config.heads) * head_width * width + width * mlp_in +
                 hidden * width + number(2) * norm_values;
  if (config.bias) block += qkv_width + width + mlp_in + width;
  Number count = vocabulary * width + number(config.layers) * block + norm_values;
  if (config.positions == Positions::learned) count += number(config.context) * width;
  if (!config.tied_head) count += vocabulary * width;
  return count;
}

void check(const RotaryScaling& scaling) {
  const float low = scaling.low_frequency_factor, high = scaling.high_frequency_factor;
  require(scaling.factor >= 1.0f && low > 0.0f && high > low && scaling.original_context >= 1,
          fmt::format("its scaling of rotary positions has a factor of {}, frequency factors of {} "
                      "and {}, an original context of {}; the first must be at least 1, the second "
                      "above 0 and below the third, the last at least 1",
                      scaling.factor, low, high, scaling.original_context));
}

}  // namespace

void GptConfig::validate() const {
  const auto size = [](const char* name, std::int64_t value, std::int64_t most = size_max) {
    require(value > 0, fmt::format("{} is {}; it must be at least 1", name, value));
    require(value <= most, fmt::format("{} is {}; it must be at most {}", name, value, most));
  };
  size("layers", layers, layers_max);
  size("heads", heads);
  size("kv_heads", kv_heads);
  size("width", width);
  size("head_width", head_width);
  size("hidden", hidden);
  size("context", context);
  size("vocabulary", vocabulary);
  const auto values = count_values<double>(*this);
  require(values <= values_max,
          fmt::format("its sizes make {:.3g} parameters; it may have {:.3g}", values, values_max));
  require(heads % kv_heads == 0,
          fmt::format("{} heads cannot share {} key/value heads evenly; choose kv_heads that "
                      "divides heads",
                      heads, kv_heads));
  require(positions == Positions::learned || head_width % 2 == 0,
          fmt::format("rotary positions pair up a head's elements, and a head is {} wide; choose "
                      "an even head width",
                      head_width));
  require(dropout >= 0.0f && dropout < 1.0f,
          fmt::format("dropout is {}; it must be at least 0 and below 1", dropout));
  require(norm_eps > 0.0f, fmt::format("norm_eps is {}; it must be above 0", norm_eps));
  require(rope_theta > 0.0f, fmt::format("rope_theta is {}; it must be above 0", rope_theta));
  if (rope_scaling) check(*rope_scaling);
}

std::int64_t GptConfig::parameter_count() const {
  return count_values<std::int64_t>(*this);
}

std::int64_t GptConfig::multiplied_parameter_count() const {
  const std::int64_t positions_looked_up = positions == Positions::learned ? context * width : 0;
  const std::int64_t tokens_looked_up = tied_head ? 0 : vocabulary * width;
  return parameter_count() - positions_looked_up - tokens_looked_up;
}

std::string GptConfig::to_json() const {
  Json json;
  visit_fields(*this, [&]<typename T>(const char* name, const T& value) {
    if constexpr (std::is_enum_v<T>) {
      json[name] = to_text(value);
    } else {
      json[name] = value;
    }
  });
  if (rope_scaling) json["rope_scaling"] = json_of(*rope_scaling);
  return json.dump();
}

GptConfig GptConfig::from_json(std::string_view text) {
  GptConfig config;
  try {
    const auto json = Json::parse(text);
    visit_fields(config, [&]<typename T>(const char* name, T& value) {
      if constexpr (std::is_enum_v<T>) {
        from_text(json.at(name).get<std::string>(), value);
      } else {
        json.at(name).get_to(value);
      }
    });
    if (json.contains("rope_scaling")) config.rope_scaling = scaling_from(json["rope_scaling"]);
  } catch (const nlohmann::json::exception& error) {
    throw Error(fmt::format("a model's configuration cannot be read: {}", error.what()));
  }
  config.validate();
  return config;
}

std::string GptConfig::difference_from(const GptConfig& other) const {
  const Json mine = Json::parse(to_json()), theirs = Json::parse(other.to_json());
  for (const Json& all : {mine, theirs}) {
    for (const auto& [name, ignored] : all.items()) {
      const auto text = [&name](const Json& json) {
        return json.contains(name) ? json[name].dump() : "not there";
      };
      if (text(mine) == text(theirs)) continue;
      return fmt::format("{} is {} and not {}", name, text(mine), text(theirs));
    }
  }
  return "";
}

}  // namespace train

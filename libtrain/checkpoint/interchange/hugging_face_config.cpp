#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/interchange/hugging_face_names.hpp"

namespace train {
namespace {

using json = nlohmann::ordered_json;

void require(bool holds, const std::string& what) {
  if (!holds) throw Error("Hugging Face has no such model: " + what);
}

json gpt2_config(const GptConfig& config) {
  require(config.norm == Norm::layer_norm && config.mlp == MlpKind::gelu,
          "learned positions come with layer norms and a GELU there");
  require(config.kv_heads == config.heads, "GPT-2 has as many key/value heads as heads");
  require(config.heads * config.head_width == config.width,
          fmt::format("GPT-2's {} heads of {} would have to make the width {}", config.heads,
                      config.head_width, config.width));
  json made = {{"architectures", {"GPT2LMHeadModel"}},
               {"model_type", "gpt2"},
               {"vocab_size", config.vocabulary},
               {"n_positions", config.context},
               {"n_ctx", config.context},
               {"n_embd", config.width},
               {"n_layer", config.layers},
               {"n_head", config.heads},
               {"n_inner", config.hidden},
               {"activation_function", "gelu_new"},
               {"layer_norm_epsilon", config.norm_eps},
               {"attn_pdrop", config.dropout},
               {"embd_pdrop", config.dropout},
               {"resid_pdrop", config.dropout},
               {"scale_attn_weights", true}};
  return made;
}

json llama_config(const GptConfig& config) {
  require(config.norm == Norm::rms_norm && config.mlp == MlpKind::swiglu,
          "rotary positions come with RMS norms and SwiGLU there");
  require(!config.bias, "Llama has no biases (--bias false)");
  json made = {{"architectures", {"LlamaForCausalLM"}},
               {"model_type", "llama"},
               {"vocab_size", config.vocabulary},
               {"max_position_embeddings", config.context},
               {"hidden_size", config.width},
               {"intermediate_size", config.hidden},
               {"num_hidden_layers", config.layers},
               {"num_attention_heads", config.heads},
               {"num_key_value_heads", config.kv_heads},
               {"head_dim", config.head_width},
               {"hidden_act", "silu"},
               {"rms_norm_eps", config.norm_eps},
               {"rope_theta", config.rope_theta},
               {"attention_bias", false},
               {"mlp_bias", false}};
  if (const auto& scaling = config.rope_scaling) {
    made["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", scaling->factor},
                            {"low_freq_factor", scaling->low_frequency_factor},
                            {"high_freq_factor", scaling->high_frequency_factor},
                            {"original_max_position_embeddings", scaling->original_context}};
  }
  return made;
}

// What a key must be, when it is there.
void expect(const json& from, const char* key, const json& wanted) {
  if (!from.contains(key) || from[key] == wanted) return;
  throw Error(
      fmt::format("\"{}\" is {}, and libtrain has {} alone", key, from[key].dump(), wanted.dump()));
}

std::int64_t number(const json& from, const char* key) {
  constexpr std::int64_t most = std::int64_t{1} << 31;  // products of two stay within 64 bits
  if (!from.contains(key) || !from[key].is_number_integer()) {
    throw Error(fmt::format("\"{}\" is missing or no number", key));
  }
  const auto value = from[key].get<std::int64_t>();
  if (value < 1 || value > most) {
    throw Error(fmt::format("\"{}\" is {}, not a number from 1 to {}", key, value, most));
  }
  return value;
}

std::int64_t number_or(const json& from, const char* key, std::int64_t otherwise) {
  return from.contains(key) && !from[key].is_null() ? number(from, key) : otherwise;
}

// A null is as good as nothing: transformers writes it for what a model leaves to its default.
template <typename T>
T value_or(const json& from, const char* key, T otherwise) {
  if (!from.contains(key) || from[key].is_null()) return otherwise;
  try {
    return from[key].get<T>();
  } catch (const json::exception&) {
    throw Error(fmt::format("\"{}\" is {}, which is no value of it", key, from[key].dump()));
  }
}

GptConfig gpt2_from(const json& from) {
  // Two names of one function.
  if (from.value("activation_function", "") != "gelu_pytorch_tanh") {
    expect(from, "activation_function", "gelu_new");
  }
  expect(from, "scale_attn_weights", true);
  expect(from, "scale_attn_by_inverse_layer_idx", false);
  expect(from, "add_cross_attention", false);
  GptConfig config;
  config.layers = number(from, "n_layer");
  config.heads = config.kv_heads = number(from, "n_head");
  config.width = number(from, "n_embd");
  config.hidden = number_or(from, "n_inner", 4 * config.width);
  config.context = number(from, "n_positions");
  config.vocabulary = number(from, "vocab_size");
  if (config.width % config.heads != 0) {
    throw Error(fmt::format("\"n_embd\" {} is not a multiple of \"n_head\" {}", config.width,
                            config.heads));
  }
  config.head_width = config.width / config.heads;
  config.norm_eps = value_or(from, "layer_norm_epsilon", 1e-5f);
  config.tied_head = value_or(from, "tie_word_embeddings", true);
  return config;
}

RotaryScaling scaling_from(const json& rope) {
  RotaryScaling scaling;
  rope.at("factor").get_to(scaling.factor);
  rope.at("low_freq_factor").get_to(scaling.low_frequency_factor);
  rope.at("high_freq_factor").get_to(scaling.high_frequency_factor);
  rope.at("original_max_position_embeddings").get_to(scaling.original_context);
  return scaling;
}

// Files of transformers 5 keep all rotary settings in an object of their own.
void read_rope(const json& from, GptConfig& config) {
  config.rope_theta = value_or(from, "rope_theta", 10000.0f);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!from.contains(key) || from[key].is_null()) continue;
    const json& rope = from[key];
    if (!rope.is_object()) {
      throw Error(fmt::format("\"{}\" is {}, which is no value of it", key, rope.dump()));
    }
    const std::string type = value_or(
        rope, "rope_type",
        value_or(rope, "type", std::string(rope.contains("factor") ? "(missing)" : "default")));
    if (type == "llama3") {
      config.rope_scaling = scaling_from(rope);
    } else if (type != "default") {
      throw Error(
          fmt::format("\"{}\" is of type \"{}\"; libtrain has default and llama3", key, type));
    }
    config.rope_theta = value_or(rope, "rope_theta", config.rope_theta);
  }
}

GptConfig llama_from(const json& from) {
  expect(from, "hidden_act", "silu");
  expect(from, "attention_bias", false);
  expect(from, "mlp_bias", false);
  GptConfig config;
  config.norm = Norm::rms_norm;
  config.positions = Positions::rotary;
  config.mlp = MlpKind::swiglu;
  config.bias = false;
  config.layers = number(from, "num_hidden_layers");
  config.heads = number(from, "num_attention_heads");
  config.kv_heads = number_or(from, "num_key_value_heads", config.heads);
  config.width = number(from, "hidden_size");
  config.hidden = number(from, "intermediate_size");
  config.head_width = number_or(from, "head_dim", config.width / config.heads);
  config.context = number(from, "max_position_embeddings");
  config.vocabulary = number(from, "vocab_size");
  config.norm_eps = value_or(from, "rms_norm_eps", 1e-6f);
  read_rope(from, config);
  config.tied_head = value_or(from, "tie_word_embeddings", false);
  return config;
}

// end_of_text() first.
std::vector<std::int32_t> ends_of(const Tokenizer& tokenizer) {
  std::vector<std::int32_t> ends;
  if (tokenizer.end_of_text()) ends.push_back(*tokenizer.end_of_text());
  for (std::int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    if (tokenizer.is_end(id) && id != tokenizer.end_of_text()) ends.push_back(id);
  }
  return ends;
}

// What generation begins with.
std::optional<std::int32_t> begin_of(const Tokenizer& tokenizer) {
  const TextFrame frame = tokenizer.frame();
  return frame.before.empty() ? tokenizer.end_of_text() : std::optional(frame.before.front());
}

}  // namespace

std::string hugging_face_tokenizer_config(const GptConfig& config, const Tokenizer& tokenizer) {
  json made = {{"tokenizer_class", "PreTrainedTokenizerFast"},
               {"model_max_length", config.context},
               {"clean_up_tokenization_spaces", false}};
  const auto name = [&](const char* key, std::optional<std::int32_t> id) {
    if (id) made[key] = tokenizer.decode({&*id, 1});
  };
  name("bos_token", begin_of(tokenizer));
  name("eos_token", tokenizer.end_of_text());
  return made.dump(2) + "\n";
}

std::string hugging_face_config(const GptConfig& config, DataType type,
                                const Tokenizer* tokenizer) {
  json made = config.positions == Positions::learned ? gpt2_config(config) : llama_config(config);
  made["tie_word_embeddings"] = config.tied_head;
  // Absent, they would be those of the published models.
  made["bos_token_id"] = made["eos_token_id"] = nullptr;
  if (tokenizer != nullptr) {
    const auto ends = ends_of(*tokenizer);
    if (const auto begin = begin_of(*tokenizer)) made["bos_token_id"] = *begin;
    if (!ends.empty()) made["eos_token_id"] = ends.size() == 1 ? json(ends.front()) : json(ends);
  }
  made["torch_dtype"] = type == DataType::bf16 ? "bfloat16" : "float32";
  return made.dump(2) + "\n";
}

GptConfig config_from_hugging_face(std::string_view text) {
  const json from = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!from.is_object()) throw Error("is not a JSON object");
  GptConfig config;
  try {
    const std::string type = from.value("model_type", "");
    if (type == "gpt2") {
      config = gpt2_from(from);
    } else if (type == "llama") {
      config = llama_from(from);
    } else {
      throw Error(fmt::format("\"model_type\" is \"{}\"; gpt2 and llama can be read", type));
    }
  } catch (const json::exception& error) {
    throw Error(error.what());
  }
  config.validate();
  return config;
}

}  // namespace train

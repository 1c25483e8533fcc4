#include "libtrain/checkpoint/interchange/hugging_face_names.hpp"

#include <fmt/format.h>

namespace train {
namespace {

class NameTable {
 public:
  explicit NameTable(const GptConfig& config) : config_(config) {}

  std::vector<HuggingFaceTensor> gpt2() {
    matrix("transformer.wte.weight", "token_embedding.weight", config_.vocabulary, config_.width);
    matrix("transformer.wpe.weight", "position_embedding.weight", config_.context, config_.width);
    for (std::int64_t i = 0; i < config_.layers; ++i) {
      const std::string theirs = fmt::format("transformer.h.{}.", i);
      const std::string ours = fmt::format("blocks.{}.", i);
      const std::int64_t heads = config_.heads * config_.head_width;
      layer_norm(theirs + "ln_1", ours + "attention_norm");
      conv1d(theirs + "attn.c_attn", ours + "attention.qkv", 3 * heads, config_.width);
      conv1d(theirs + "attn.c_proj", ours + "attention.out", config_.width, heads);
      layer_norm(theirs + "ln_2", ours + "mlp_norm");
      conv1d(theirs + "mlp.c_fc", ours + "mlp.up", config_.hidden, config_.width);
      conv1d(theirs + "mlp.c_proj", ours + "mlp.down", config_.width, config_.hidden);
    }
    layer_norm("transformer.ln_f", "final_norm");
    head();
    return std::move(tensors_);
  }

  std::vector<HuggingFaceTensor> llama() {
    matrix("model.embed_tokens.weight", "token_embedding.weight", config_.vocabulary,
           config_.width);
    for (std::int64_t i = 0; i < config_.layers; ++i) {
      const std::string theirs = fmt::format("model.layers.{}.", i);
      const std::string ours = fmt::format("blocks.{}.", i);
      const std::int64_t q = config_.heads * config_.head_width;
      const std::int64_t kv = config_.kv_heads * config_.head_width;
      vector(theirs + "input_layernorm.weight", ours + "attention_norm.weight", config_.width);
      matrix(theirs + "self_attn.q_proj.weight", ours + "attention.qkv.weight", q, config_.width);
      matrix(theirs + "self_attn.k_proj.weight", ours + "attention.qkv.weight", kv, config_.width,
             q);
      matrix(theirs + "self_attn.v_proj.weight", ours + "attention.qkv.weight", kv, config_.width,
             q + kv);
      matrix(theirs + "self_attn.o_proj.weight", ours + "attention.out.weight", config_.width, q);
      vector(theirs + "post_attention_layernorm.weight", ours + "mlp_norm.weight", config_.width);
      matrix(theirs + "mlp.gate_proj.weight", ours + "mlp.gate_up.weight", config_.hidden,
             config_.width);
      matrix(theirs + "mlp.up_proj.weight", ours + "mlp.gate_up.weight", config_.hidden,
             config_.width, config_.hidden);
      matrix(theirs + "mlp.down_proj.weight", ours + "mlp.down.weight", config_.width,
             config_.hidden);
    }
    vector("model.norm.weight", "final_norm.weight", config_.width);
    head();
    return std::move(tensors_);
  }

 private:
  void matrix(const std::string& name, const std::string& native, std::int64_t rows,
              std::int64_t width, std::int64_t row = 0) {
    tensors_.push_back({.name = name, .native = native, .row = row, .rows = rows, .width = width});
  }
  void vector(const std::string& name, const std::string& native, std::int64_t count) {
    tensors_.push_back({.name = name, .native = native, .rows = count, .matrix = false});
  }
  void bias(const std::string& name, const std::string& native, std::int64_t count) {
    vector(name + ".bias", config_.bias ? native + ".bias" : "", count);
  }
  void layer_norm(const std::string& name, const std::string& native) {
    vector(name + ".weight", native + ".weight", config_.width);
    bias(name, native, config_.width);
  }
  void conv1d(const std::string& name, const std::string& native, std::int64_t out,
              std::int64_t in) {
    matrix(name + ".weight", native + ".weight", out, in);
    tensors_.back().transposed = true;
    bias(name, native, out);
  }
  void head() {
    if (config_.tied_head) return;
    matrix("lm_head.weight", "head.weight", config_.vocabulary, config_.width);
  }

  const GptConfig& config_;
  std::vector<HuggingFaceTensor> tensors_;
};

}  // namespace

std::vector<std::int64_t> HuggingFaceTensor::shape() const {
  if (!matrix) return {rows};
  if (transposed) return {width, rows};
  return {rows, width};
}

std::vector<HuggingFaceTensor> hugging_face_tensors(const GptConfig& config) {
  NameTable table(config);
  return config.positions == Positions::learned ? table.gpt2() : table.llama();
}

bool is_left_out(std::string_view name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
         name.ends_with("rotary_emb.inv_freq") || name == "lm_head.weight";
}

const char* hugging_face_prefix(const GptConfig& config) {
  return config.positions == Positions::learned ? "transformer." : "model.";
}

}  // namespace train

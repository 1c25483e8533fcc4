#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libtrain/ops/rotary_frequencies.hpp"

namespace train {

enum class Norm : std::uint8_t { layer_norm, rms_norm };
enum class Positions : std::uint8_t { learned, rotary };
enum class MlpKind : std::uint8_t { gelu, swiglu };

/// One decoder-only transformer: GPT-2 and Llama are values of this.
struct GptConfig {
  std::int64_t layers = 4;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 4;     ///< fewer than heads: grouped-query attention
  std::int64_t width = 128;      ///< of the residual stream
  std::int64_t head_width = 32;  ///< width / heads unless set
  std::int64_t hidden = 512;     ///< of the MLP
  std::int64_t context = 128;    ///< tokens in a sequence
  std::int64_t vocabulary = 256;
  Norm norm = Norm::layer_norm;
  Positions positions = Positions::learned;
  MlpKind mlp = MlpKind::gelu;
  bool bias = true;       ///< in linear layers and layer norms
  bool tied_head = true;  ///< the head's matrix is the token embedding's
  float norm_eps = 1e-5f;
  float rope_theta = 10000.0f;
  std::optional<RotaryScaling> rope_scaling = {};  ///< Llama 3.1 and later have one
  float dropout = 0.0f;  ///< on embeddings, attention probabilities and both branches

  bool operator==(const GptConfig&) const = default;

  /// Throws Error that names the first value that cannot be: of at most 65536 layers, sizes of 2^31
  /// and 2^48 parameters.
  void validate() const;
  /// Values in all parameters, the tied head once. Of a valid configuration.
  std::int64_t parameter_count() const;
  /// Of these, those that multiply activations: not what is only looked up, which is positions, and
  /// the embedding where the head is not tied to it.
  std::int64_t multiplied_parameter_count() const;

  std::string to_json() const;
  static GptConfig from_json(std::string_view text);
  /// The first field that the other has otherwise, in words: "layers is 3 and not 2"; "" if equal.
  std::string difference_from(const GptConfig& other) const;
};

GptConfig gpt_nano();
GptConfig gpt2_124m();
GptConfig gpt2_350m();
GptConfig gpt2_774m();
GptConfig gpt2_1558m();
/// The shapes of Llama 3.2 1B and Llama 3.1 8B, to be trained: a context of 8192 and plain rotary
/// positions. A published checkpoint's own configuration brings its longer context and scaling.
GptConfig llama_1b();
GptConfig llama_8b();

/// A named size ("nano", "gpt2-124m", "llama-1b", …), or a list that changes one:
/// "layers=6,heads=6,width=384" starts from GPT-2's style, "llama-1b,layers=2" from that size,
/// "llama,layers=4,heads=4,width=128" from Llama's style. Throws Error with the names there are.
GptConfig parse_model(std::string_view text);
std::vector<std::string> model_names();

}  // namespace train

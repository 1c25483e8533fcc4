#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace train {

/// Ids that a tokenizer puts around every text; none for most.
struct TextFrame {
  std::vector<std::int32_t> before;
  std::vector<std::int32_t> after;
};

/// Text to token ids and back. Immutable: any number of threads may use one at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Throws Error naming the character or byte that has no token.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;

  /// The inverse. Throws Error naming an id that has no text. The result is bytes: a single token
  /// of a byte-level tokenizer may hold part of a UTF-8 character.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;

  /// One more than the largest id.
  virtual std::int32_t vocabulary_size() const = 0;

  /// Whether decode() knows the id: a vocabulary may have gaps.
  virtual bool has_text(std::int32_t id) const { return id >= 0 && id < vocabulary_size(); }

  /// The id that separates documents, where there is one.
  virtual std::optional<std::int32_t> end_of_text() const = 0;

  /// Whether generated text ends with this id: end_of_text(), and what else its files call an end.
  virtual bool is_end(std::int32_t id) const { return id == end_of_text(); }

  /// What belongs around every document, and before a prompt: Llama 3's `<|begin_of_text|>`.
  /// encode() leaves it out.
  virtual TextFrame frame() const { return {}; }

  /// "bytes", "chars", or the specification that the tokenizer was read from.
  virtual std::string name() const = 0;

  /// Everything tokenizer_from_json() needs, so that a weights file can carry its tokenizer: no
  /// path to a file that may be gone. About 1.5 MB for GPT-2, a few hundred bytes for chars.
  virtual std::string to_json() const = 0;

  /// A tokenizer.json for Hugging Face's libraries that makes the same ids; nothing where the
  /// format has no such tokenizer (`chars`).
  virtual std::optional<std::string> to_hugging_face() const { return std::nullopt; }
};

/// encode() within frame().
std::vector<std::int32_t> encode_document(const Tokenizer& tokenizer, std::string_view text);

/// The id to put between two documents: end_of_text(), but none where frame() has it already.
std::optional<std::int32_t> document_separator(const Tokenizer& tokenizer);

/// Whether the ids of documents that follow each other tell where one ends.
bool marks_documents(const Tokenizer& tokenizer);

/// Makes the tokenizer that `specification` names:
///  - `bytes`: 256 ids, any input
///  - `gpt2:PATH`: GPT-2's byte-level BPE, from llm.c's gpt2_tokenizer.bin, a merges.txt or
///    vocab.bpe (with vocab.json or encoder.json beside it, if there), a folder that holds them,
///    or r50k_base.tiktoken
///  - `hf:PATH`: Hugging Face's tokenizer.json with a byte-level BPE, or a folder that holds it.
///    Its end-of-text is the `eos_token` of a tokenizer_config.json beside it, or the (first)
///    `eos_token_id` of generation_config.json or config.json, or a token of a well-known name
/// Throws Error naming the specification or file, and what about it is not supported. `chars`
/// needs its text: make_char_tokenizer().
std::shared_ptr<const Tokenizer> make_tokenizer(std::string_view specification);

/// One id per distinct character of `text`, in code point order. Throws Error with the position if
/// the text is not valid UTF-8 or is empty.
std::shared_ptr<const Tokenizer> make_char_tokenizer(std::string_view text);

/// Reads what Tokenizer::to_json() wrote. Throws Error if it is anything else.
std::shared_ptr<const Tokenizer> tokenizer_from_json(std::string_view json);

}  // namespace train

#pragma once

#include "libtrain/data/tokenizer.hpp"

namespace train::detail {

/// One id per character of a table in code point order, as character-level GPTs use.
class CharTokenizer final : public Tokenizer {
 public:
  /// Whose the characters are: a model's, which knows no others, or a text's, which may be read
  /// with another tokenizer yet. Messages say what there is to do.
  enum class Owner : std::uint8_t { text, model };

  /// `characters`: strictly ascending valid code points, at least one.
  CharTokenizer(std::u32string characters, Owner owner);

  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int32_t vocabulary_size() const override;
  std::optional<std::int32_t> end_of_text() const override { return std::nullopt; }
  std::string name() const override { return "chars"; }
  std::string to_json() const override;

 private:
  std::u32string characters_;
  Owner owner_;
  std::vector<std::int32_t> ids_;  // by code point; -1: not in the table
};

/// Reads a model's table from the `characters` of CharTokenizer::to_json().
std::shared_ptr<const Tokenizer> char_tokenizer_of_table(std::string_view characters);

}  // namespace train::detail

#include "libtrain/data/tokenizers/char_tokenizer.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizers/utf8.hpp"

namespace train {
namespace detail {
namespace {

using Owner = CharTokenizer::Owner;

/// Calls visit(code_point, byte position) for each character.
template <typename Visit>
void for_each_character(std::string_view text, Owner owner, Visit visit) {
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint character = decode_utf8(text, at);
    if (character.bytes == 0) {
      throw Error(fmt::format(
          "byte {} (0x{:02x}) is not valid UTF-8, which characters need; convert the text (iconv "
          "-t UTF-8){}",
          at, static_cast<unsigned char>(text[at]),
          owner == Owner::text ? " or use --tokenizer bytes" : ""));
    }
    visit(character.value, at);
    at += character.bytes;
  }
}

std::string printable(char32_t character) {
  std::string text = fmt::format("U+{:04X}", static_cast<std::uint32_t>(character));
  if (character > U' ' && character != 0x7f) {
    text += " '";
    append_utf8(text, character);
    text += '\'';
  }
  return text;
}

}  // namespace

CharTokenizer::CharTokenizer(std::u32string characters, Owner owner)
    : characters_(std::move(characters)), owner_(owner) {
  invariant(!characters_.empty(), "a table of characters has one");
  ids_.assign(characters_.back() + std::size_t{1}, -1);
  for (std::size_t id = 0; id < characters_.size(); ++id) {
    ids_[characters_[id]] = static_cast<std::int32_t>(id);
  }
}

std::vector<std::int32_t> CharTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  ids.reserve(text.size());
  for_each_character(text, owner_, [&](char32_t character, std::size_t at) {
    const std::int32_t id = character < ids_.size() ? ids_[character] : -1;
    if (id < 0) {
      throw Error(fmt::format(
          "the character {} at byte {} is not one of the {} that {}", printable(character), at,
          characters_.size(),
          owner_ == Owner::text
              ? "the tokenizer 'chars' found in its training text; use --tokenizer bytes"
              : "the model knows: those of the text that it was first trained on"));
    }
    ids.push_back(id);
  });
  return ids;
}

std::string CharTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocabulary_size()) {
      throw Error(
          fmt::format("id {} is none of the tokenizer's {} characters", id, characters_.size()));
    }
    append_utf8(text, characters_[static_cast<std::size_t>(id)]);
  }
  return text;
}

std::int32_t CharTokenizer::vocabulary_size() const {
  return static_cast<std::int32_t>(characters_.size());
}

std::string CharTokenizer::to_json() const {
  std::string table;
  for (const char32_t character : characters_) append_utf8(table, character);
  return nlohmann::json{{"kind", "chars"}, {"characters", table}}.dump();
}

std::shared_ptr<const Tokenizer> char_tokenizer_of_table(std::string_view characters) {
  std::u32string table;
  for_each_character(characters, Owner::model,
                     [&](char32_t character, std::size_t) { table += character; });
  if (table.empty() || !std::ranges::is_sorted(table, std::less_equal{})) {
    throw Error("the tokenizer's table of characters is empty or not in code point order");
  }
  return std::make_shared<CharTokenizer>(std::move(table), Owner::model);
}

}  // namespace detail

std::shared_ptr<const Tokenizer> make_char_tokenizer(std::string_view text) {
  std::vector<bool> seen(0x110000);
  const auto owner = detail::CharTokenizer::Owner::text;
  detail::for_each_character(text, owner,
                             [&](char32_t character, std::size_t) { seen[character] = true; });
  std::u32string table;
  for (char32_t character = 0; character < seen.size(); ++character) {
    if (seen[character]) table += character;
  }
  if (table.empty()) throw Error("the text is empty: there are no characters to make ids of");
  return std::make_shared<detail::CharTokenizer>(std::move(table), owner);
}

}  // namespace train

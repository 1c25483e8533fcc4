#pragma once

#include <array>
#include <string>
#include <unordered_map>
#include <vector>

#include "libtrain/data/tokenizer.hpp"
#include "libtrain/data/tokenizers/bpe_merges.hpp"
#include "libtrain/data/tokenizers/split_pattern.hpp"

namespace train::detail {

/// A token that stands in the text as itself and is never split or merged.
struct SpecialToken {
  std::string text;
  std::int32_t id;
  bool first = true;    ///< looked for before those that are not
  bool control = true;  ///< no part of the text: others may leave it out when they decode
};

/// Everything a byte-level BPE file says.
struct BpeModel {
  std::string name;
  std::vector<std::string> tokens;  ///< id to bytes; empty where an id has no token
  BpeMerges merges;
  std::vector<SpecialToken> special;
  std::vector<SplitPattern> splits;         ///< each cuts the pieces of the one before
  bool whole_pieces = false;                ///< a piece that is a token is taken unmerged
  std::optional<std::size_t> prefix_stage;  ///< the split before which pieces get a space in front
  bool wants_nfc = false;                   ///< text becomes Unicode NFC first
  std::optional<std::int32_t> end_of_text;
  std::vector<std::int32_t> other_ends;  ///< generation ends with these, too
  TextFrame frame;

  bool has_token(std::int32_t id) const;
};

/// Byte-level BPE of GPT-2 and its descendants.
///
/// Special tokens in the text become their ids. Bytes that are not valid UTF-8 end a piece; each
/// run of them is a piece by itself, so that decode() gives back exactly what encode() got, or its
/// normal form.
class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeModel model);
  BpeTokenizer(const BpeTokenizer&) = delete;  // holds views of its own model
  BpeTokenizer& operator=(const BpeTokenizer&) = delete;

  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int32_t vocabulary_size() const override;
  bool has_text(std::int32_t id) const override { return model_.has_token(id); }
  std::optional<std::int32_t> end_of_text() const override { return model_.end_of_text; }
  bool is_end(std::int32_t id) const override;
  TextFrame frame() const override { return model_.frame; }
  std::string name() const override { return model_.name; }
  std::string to_json() const override;
  std::optional<std::string> to_hugging_face() const override;

 private:
  class Encoding;

  /// Cuts `text` at the special tokens of one turn: visit_text for what lies between.
  void cut_special(std::string_view text, bool first, const Visit& visit_text,
                   std::vector<std::int32_t>& ids) const;

  BpeModel model_;
  std::vector<SpecialToken> wanted_;  // as they stand in the text of their turn, longest first
  std::array<std::int32_t, 256> byte_ids_;                    // -1: the vocabulary lacks the byte
  std::unordered_map<std::string_view, std::int32_t> whole_;  // views into model_.tokens
  std::unordered_map<std::int32_t, std::string_view> special_by_id_;
};

/// Finds the merges that a vocabulary ordered by merge came from: each token of two bytes or more,
/// taken in order, is the merge of the two tokens that the merges before it make of its bytes.
/// Tokens of which they make more have no merge of their own. `order` holds ids.
BpeMerges recover_merges(const std::vector<std::string>& tokens,
                         std::span<const std::int32_t> order);

}  // namespace train::detail

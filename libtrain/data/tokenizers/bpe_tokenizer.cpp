#include "libtrain/data/tokenizers/bpe_tokenizer.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizers/hugging_face.hpp"
#include "libtrain/data/tokenizers/nfc.hpp"
#include "libtrain/data/tokenizers/utf8.hpp"

namespace train::detail {
namespace {

std::array<std::int32_t, 256> find_byte_ids(const std::vector<std::string>& tokens) {
  std::array<std::int32_t, 256> ids;
  ids.fill(-1);
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].size() != 1) continue;
    std::int32_t& entry = ids[static_cast<unsigned char>(tokens[id][0])];
    if (entry < 0) entry = static_cast<std::int32_t>(id);
  }
  return ids;
}

}  // namespace

bool BpeModel::has_token(std::int32_t id) const {
  const auto index = static_cast<std::size_t>(id);
  if (id >= 0 && index < tokens.size() && !tokens[index].empty()) return true;
  return std::ranges::find(special, id, &SpecialToken::id) != special.end();
}

/// One call of encode(): where ids go, and what pieces became. Text repeats its words, so most
/// pieces cost one look-up.
class BpeTokenizer::Encoding {
 public:
  Encoding(const BpeTokenizer& tokenizer, std::vector<std::int32_t>& ids)
      : tokenizer_(tokenizer), ids_(ids) {
    for (const SplitPattern& pattern : tokenizer.model_.splits) splits_.emplace_back(pattern);
  }

  /// Text without special tokens.
  void add_text(std::string_view text) {
    while (!text.empty()) {
      const std::size_t valid = valid_utf8_prefix(text);
      if (valid > 0) split(text.substr(0, valid), 0);
      text.remove_prefix(valid);
      std::size_t invalid = 0;
      while (invalid < text.size() && decode_utf8(text, invalid).bytes == 0) ++invalid;
      if (invalid > 0) add_piece(text.substr(0, invalid));
      text.remove_prefix(invalid);
    }
  }

 private:
  static constexpr std::size_t kCachedPieces = 1 << 16;
  static constexpr std::size_t kCachedBytes = 64;

  void split(std::string_view text, std::size_t stage) {
    if (stage == tokenizer_.model_.prefix_stage && text.front() != ' ') {
      split(fmt::format(" {}", text), stage);
    } else if (stage < splits_.size()) {
      splits_[stage].split(text, [&](std::string_view piece) { split(piece, stage + 1); });
    } else {
      add_piece(text);
    }
  }

  void add_piece(std::string_view piece) {
    if (piece.size() > kCachedBytes) {
      const auto symbols = encode_piece(piece);
      ids_.insert(ids_.end(), symbols.begin(), symbols.end());
      return;
    }
    key_.assign(piece);
    auto found = cache_.find(key_);
    if (found == cache_.end()) {
      // Frequent pieces come early; a full cache starts anew for text that changes.
      if (cache_.size() >= kCachedPieces) cache_.clear();
      found = cache_.emplace(key_, encode_piece(piece)).first;
    }
    ids_.insert(ids_.end(), found->second.begin(), found->second.end());
  }

  std::vector<std::int32_t> encode_piece(std::string_view piece) const {
    if (tokenizer_.model_.whole_pieces) {
      const auto whole = tokenizer_.whole_.find(piece);
      if (whole != tokenizer_.whole_.end()) return {whole->second};
    }
    std::vector<std::int32_t> symbols;
    symbols.reserve(piece.size());
    for (const char byte : piece) {
      const std::int32_t id = tokenizer_.byte_ids_[static_cast<unsigned char>(byte)];
      if (id < 0) {
        throw Error(fmt::format("the tokenizer '{}' has no token for byte 0x{:02x}",
                                tokenizer_.model_.name, static_cast<unsigned char>(byte)));
      }
      symbols.push_back(id);
    }
    tokenizer_.model_.merges.apply(symbols);
    return symbols;
  }

  const BpeTokenizer& tokenizer_;
  std::vector<std::int32_t>& ids_;
  std::vector<Splitter> splits_;
  std::unordered_map<std::string, std::vector<std::int32_t>> cache_;
  std::string key_;
};

BpeTokenizer::BpeTokenizer(BpeModel model)
    : model_(std::move(model)), byte_ids_(find_byte_ids(model_.tokens)) {
  wanted_ = model_.special;
  for (SpecialToken& token : wanted_) {
    if (model_.wants_nfc && !token.first) token.text = to_nfc(token.text);
  }
  // The longest of several that begin at one place is taken.
  std::ranges::stable_sort(wanted_, std::ranges::greater{},
                           [](const SpecialToken& token) { return token.text.size(); });
  for (const SpecialToken& token : model_.special) special_by_id_.emplace(token.id, token.text);
  if (!model_.whole_pieces) return;
  for (std::size_t id = 0; id < model_.tokens.size(); ++id) {
    if (model_.tokens[id].empty()) continue;
    whole_.emplace(model_.tokens[id], static_cast<std::int32_t>(id));
  }
}

void BpeTokenizer::cut_special(std::string_view text, bool first, const Visit& visit_text,
                               std::vector<std::int32_t>& ids) const {
  std::array<bool, 256> begins{};
  for (const SpecialToken& token : wanted_) {
    if (token.first == first) begins[static_cast<unsigned char>(token.text.front())] = true;
  }
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (!begins[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const auto token = std::ranges::find_if(wanted_, [&](const SpecialToken& candidate) {
      return candidate.first == first && text.substr(at).starts_with(candidate.text);
    });
    if (token == wanted_.end()) {
      ++at;
      continue;
    }
    if (at > begin) visit_text(text.substr(begin, at - begin));
    ids.push_back(token->id);
    begin = at += token->text.size();
  }
  if (begin < text.size()) visit_text(text.substr(begin));
}

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  Encoding encoding(*this, ids);
  const auto second_turn = [&](std::string_view part) {
    const std::string normal = model_.wants_nfc ? to_nfc(part) : "";
    cut_special(
        model_.wants_nfc ? normal : part, false,
        [&](std::string_view rest) { encoding.add_text(rest); }, ids);
  };
  cut_special(text, true, second_turn, ids);
  return ids;
}

std::string BpeTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    const auto special = special_by_id_.find(id);
    if (special != special_by_id_.end()) {
      text += special->second;
    } else if (id >= 0 && static_cast<std::size_t>(id) < model_.tokens.size() &&
               !model_.tokens[static_cast<std::size_t>(id)].empty()) {
      text += model_.tokens[static_cast<std::size_t>(id)];
    } else {
      throw Error(fmt::format("id {} has no token in the tokenizer '{}' of {} ids", id, model_.name,
                              vocabulary_size()));
    }
  }
  return text;
}

bool BpeTokenizer::is_end(std::int32_t id) const {
  return id == model_.end_of_text || std::ranges::count(model_.other_ends, id) > 0;
}

std::optional<std::string> BpeTokenizer::to_hugging_face() const {
  return write_hugging_face(model_);
}

std::int32_t BpeTokenizer::vocabulary_size() const {
  auto size = static_cast<std::int32_t>(model_.tokens.size());
  for (const SpecialToken& token : model_.special) size = std::max(size, token.id + 1);
  return size;
}

BpeMerges recover_merges(const std::vector<std::string>& tokens,
                         std::span<const std::int32_t> order) {
  const auto byte_ids = find_byte_ids(tokens);
  BpeMerges merges;
  std::vector<std::int32_t> symbols;
  for (const std::int32_t id : order) {
    const std::string& token = tokens[static_cast<std::size_t>(id)];
    if (token.size() < 2) continue;
    symbols.clear();
    for (const char byte : token) symbols.push_back(byte_ids[static_cast<unsigned char>(byte)]);
    if (std::ranges::count(symbols, -1) > 0) continue;
    merges.apply(symbols);
    if (symbols.size() == 2) merges.add({symbols[0], symbols[1], id});
  }
  return merges;
}

}  // namespace train::detail

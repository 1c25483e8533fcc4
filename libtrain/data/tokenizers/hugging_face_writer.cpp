#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "libtrain/data/tokenizers/bpe_tokenizer.hpp"
#include "libtrain/data/tokenizers/byte_level.hpp"
#include "libtrain/data/tokenizers/hugging_face.hpp"

namespace train::detail {
namespace {

using nlohmann::json;

/// Id to the string that the file has for it: of added tokens the text, of others the bytes in the
/// visible alphabet; empty where there is no token.
std::vector<std::string> visible_tokens(const BpeModel& model) {
  std::vector<std::string> visible;
  for (const std::string& token : model.tokens) visible.push_back(to_byte_level(token));
  for (const SpecialToken& token : model.special) {
    const auto index = static_cast<std::size_t>(token.id);
    if (index >= visible.size()) visible.resize(index + 1);
    visible[index] = token.text;
  }
  return visible;
}

/// {string: id, …}, added tokens too: `tokenizers` numbers those anew that it does not find here.
std::optional<json> vocabulary_of(const std::vector<std::string>& visible) {
  json vocabulary = json::object();
  for (std::size_t id = 0; id < visible.size(); ++id) {
    if (visible[id].empty()) continue;
    if (!vocabulary.emplace(visible[id], id).second) return std::nullopt;
  }
  return vocabulary;
}

std::optional<json> merges_of(const BpeModel& model, const std::vector<std::string>& visible) {
  json merges = json::array();
  for (const BpeMerge& merge : model.merges.in_order()) {
    const auto text = [&](std::int32_t id) { return visible[static_cast<std::size_t>(id)]; };
    if (text(merge.left) + text(merge.right) != text(merge.merged)) return std::nullopt;
    merges.push_back(fmt::format("{} {}", text(merge.left), text(merge.right)));
  }
  return merges;
}

/// A space in front of pieces belongs to ByteLevel there, which may have GPT-2's pattern behind it.
std::optional<json> pre_tokenizer_of(const BpeModel& model) {
  std::size_t steps = model.splits.size();
  const bool gpt2 = steps > 0 && model.splits.back().expression() == kGpt2Pattern &&
                    model.splits.back().gaps() == SplitPattern::Gaps::keep &&
                    model.prefix_stage != steps;
  if (gpt2) --steps;
  if (model.prefix_stage && *model.prefix_stage != steps) return std::nullopt;
  json sequence = json::array();
  for (std::size_t i = 0; i < steps; ++i) {
    const bool keep = model.splits[i].gaps() == SplitPattern::Gaps::keep;
    sequence.push_back({{"type", "Split"},
                        {"pattern", {{"Regex", model.splits[i].expression()}}},
                        {"behavior", keep ? "Isolated" : "Removed"},
                        {"invert", !keep}});
  }
  const json bytes = {{"type", "ByteLevel"},
                      {"add_prefix_space", model.prefix_stage.has_value()},
                      {"trim_offsets", true},
                      {"use_regex", gpt2}};
  if (steps == 0) return bytes;
  sequence.push_back(bytes);
  return json{{"type", "Sequence"}, {"pretokenizers", std::move(sequence)}};
}

json post_processor_of(const TextFrame& frame, const std::vector<std::string>& visible) {
  if (frame.before.empty() && frame.after.empty()) return nullptr;
  json special = json::object();
  const auto piece = [&](std::int32_t id, int type) {
    const std::string& text = visible[static_cast<std::size_t>(id)];
    special[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
    return json{{"SpecialToken", {{"id", text}, {"type_id", type}}}};
  };
  const auto add = [&](json& pieces, const char* which, int type) {
    for (const std::int32_t id : frame.before) pieces.push_back(piece(id, type));
    pieces.push_back({{"Sequence", {{"id", which}, {"type_id", type}}}});
    for (const std::int32_t id : frame.after) pieces.push_back(piece(id, type));
  };
  json single = json::array(), pair = json::array();
  add(single, "A", 0);
  add(pair, "A", 0);
  add(pair, "B", 1);
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", std::move(pair)},
          {"special_tokens", std::move(special)}};
}

json added_tokens_of(std::vector<SpecialToken> tokens) {
  std::ranges::sort(tokens, {}, &SpecialToken::id);
  json added = json::array();
  for (const SpecialToken& token : tokens) {
    added.push_back({{"id", token.id},
                     {"content", token.text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", !token.first},
                     {"special", token.control}});
  }
  return added;
}

}  // namespace

std::optional<std::string> write_hugging_face(const BpeModel& model) {
  const auto visible = visible_tokens(model);
  auto vocabulary = vocabulary_of(visible);
  auto merges = merges_of(model, visible);
  auto pre_tokenizer = pre_tokenizer_of(model);
  if (!vocabulary || !merges || !pre_tokenizer) return std::nullopt;
  const json document = {{"version", "1.0"},
                         {"truncation", nullptr},
                         {"padding", nullptr},
                         {"added_tokens", added_tokens_of(model.special)},
                         {"normalizer", model.wants_nfc ? json{{"type", "NFC"}} : json(nullptr)},
                         {"pre_tokenizer", *std::move(pre_tokenizer)},
                         {"post_processor", post_processor_of(model.frame, visible)},
                         {"decoder",
                          {{"type", "ByteLevel"},
                           {"add_prefix_space", true},
                           {"trim_offsets", true},
                           {"use_regex", true}}},
                         {"model",
                          {{"type", "BPE"},
                           {"dropout", nullptr},
                           {"unk_token", nullptr},
                           {"continuing_subword_prefix", nullptr},
                           {"end_of_word_suffix", nullptr},
                           {"fuse_unk", false},
                           {"byte_fallback", false},
                           {"ignore_merges", model.whole_pieces},
                           {"vocab", *std::move(vocabulary)},
                           {"merges", *std::move(merges)}}}};
  return document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace train::detail

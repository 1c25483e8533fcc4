// How a weights file carries its tokenizer. A BPE is written whole: its tokens in GPT-2's visible
// alphabet, its merges as triples of ids.
#include <array>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizers/bpe_tokenizer.hpp"
#include "libtrain/data/tokenizers/byte_level.hpp"
#include "libtrain/data/tokenizers/byte_tokenizer.hpp"
#include "libtrain/data/tokenizers/char_tokenizer.hpp"

namespace train {
namespace detail {
namespace {

using nlohmann::json;

std::string bytes_of(const json& visible) {
  auto bytes = from_byte_level(visible.get_ref<const std::string&>());
  if (!bytes) throw Error("a token is not written in the byte alphabet");
  return *std::move(bytes);
}

/// Ids that no real vocabulary has would only exhaust memory.
std::int32_t id_of(const json& value) {
  constexpr std::int64_t kMost = 1 << 24;
  const auto id = value.get<std::int64_t>();
  if (id < 0 || id >= kMost) throw Error(fmt::format("the id {} is out of range", id));
  return static_cast<std::int32_t>(id);
}

/// Ids of tokens that the model has; none in files of versions that did not save them.
std::vector<std::int32_t> ids_of(const json& document, const char* name, const BpeModel& model) {
  std::vector<std::int32_t> ids;
  for (const json& value : document.value(name, json::array())) {
    ids.push_back(id_of(value));
    if (model.has_token(ids.back())) continue;
    throw Error(fmt::format("\"{}\" names the id {}, which has no token", name, ids.back()));
  }
  return ids;
}

std::int32_t token_of(const json& value, const BpeModel& model) {
  const std::int32_t id = id_of(value);
  const auto index = static_cast<std::size_t>(id);
  if (index < model.tokens.size() && !model.tokens[index].empty()) return id;
  throw Error(fmt::format("a merge names the id {}, which has no token", id));
}

BpeModel read_bpe(const json& document) {
  BpeModel model;
  document.at("name").get_to(model.name);
  document.at("whole_pieces").get_to(model.whole_pieces);
  document.at("wants_nfc").get_to(model.wants_nfc);
  if (!document.at("prefix_stage").is_null()) {
    model.prefix_stage = document["prefix_stage"].get<std::size_t>();
  }
  if (!document.at("end_of_text").is_null()) model.end_of_text = id_of(document["end_of_text"]);
  for (const json& token : document.at("tokens")) model.tokens.push_back(bytes_of(token));
  for (const json& merge : document.at("merges")) {
    const bool added = model.merges.add(
        {token_of(merge.at(0), model), token_of(merge.at(1), model), token_of(merge.at(2), model)});
    if (!added) throw Error("two merges of the same pair");
  }
  for (const json& token : document.at("special")) {
    model.special.push_back({bytes_of(token.at("text")), id_of(token.at("id")),
                             token.at("first").get<bool>(), token.value("control", true)});
    if (model.special.back().text.empty()) throw Error("a special token without text");
  }
  for (const json& split : document.at("splits")) {
    model.splits.emplace_back(
        split.at("pattern").get<std::string>(),
        split.at("keep_gaps").get<bool>() ? SplitPattern::Gaps::keep : SplitPattern::Gaps::drop);
  }
  model.other_ends = ids_of(document, "other_ends", model);
  model.frame = {ids_of(document, "before", model), ids_of(document, "after", model)};
  return model;
}

}  // namespace

std::string BpeTokenizer::to_json() const {
  json tokens = json::array();
  for (const std::string& token : model_.tokens) tokens.push_back(to_byte_level(token));
  json merges = json::array();
  for (const BpeMerge& merge : model_.merges.in_order()) {
    merges.push_back({merge.left, merge.right, merge.merged});
  }
  json special = json::array();
  for (const SpecialToken& token : model_.special) {
    special.push_back({{"text", to_byte_level(token.text)},
                       {"id", token.id},
                       {"first", token.first},
                       {"control", token.control}});
  }
  json splits = json::array();
  for (const SplitPattern& split : model_.splits) {
    splits.push_back(
        {{"pattern", split.expression()}, {"keep_gaps", split.gaps() == SplitPattern::Gaps::keep}});
  }
  const json document{
      {"kind", "bpe"},
      {"name", model_.name},
      {"tokens", std::move(tokens)},
      {"merges", std::move(merges)},
      {"special", std::move(special)},
      {"splits", std::move(splits)},
      {"whole_pieces", model_.whole_pieces},
      {"prefix_stage", model_.prefix_stage ? json(*model_.prefix_stage) : json(nullptr)},
      {"wants_nfc", model_.wants_nfc},
      {"end_of_text", model_.end_of_text ? json(*model_.end_of_text) : json(nullptr)},
      {"other_ends", model_.other_ends},
      {"before", model_.frame.before},
      {"after", model_.frame.after}};
  // The name holds a path, which need not be UTF-8.
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace detail

std::shared_ptr<const Tokenizer> tokenizer_from_json(std::string_view text) {
  using nlohmann::json;
  try {
    const json document = json::parse(text);
    const auto kind = document.at("kind").get<std::string>();
    if (kind == "bytes") return std::make_shared<detail::ByteTokenizer>();
    if (kind == "chars") {
      return detail::char_tokenizer_of_table(
          document.at("characters").get_ref<const std::string&>());
    }
    if (kind == "bpe") return std::make_shared<detail::BpeTokenizer>(detail::read_bpe(document));
    throw Error(
        fmt::format("its kind is '{}', expected bytes, chars or bpe; a newer version may "
                    "have saved it",
                    kind));
  } catch (const json::exception& error) {
    throw Error(fmt::format("cannot read the saved tokenizer: {}", error.what()));
  } catch (const Error& error) {
    throw Error(fmt::format("cannot read the saved tokenizer: {}", error.what()));
  }
}

}  // namespace train

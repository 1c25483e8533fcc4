#include "libtrain/data/tokenizers/hugging_face.hpp"

#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "libtrain/data/mapped_file.hpp"
#include "libtrain/data/tokenizers/hugging_face_ends.hpp"
#include "libtrain/data/tokenizers/vocabulary.hpp"

namespace train::detail {
namespace {

using nlohmann::json;

/// The member, or null where it is missing.
json member(const json& object, const char* name) {
  return object.is_object() && object.contains(name) ? object.at(name) : json(nullptr);
}

bool flag(const json& object, const char* name, bool otherwise) {
  const json value = member(object, name);
  return value.is_null() ? otherwise : value.get<bool>();
}

std::string type_of(const json& part) {
  const json type = member(part, "type");
  return type.is_string() ? type.get<std::string>() : "of no type";
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error(fmt::format("{} is not supported; a byte-level BPE as of GPT-2 or Llama 3 is", what));
}

void read_normalizer(const json& normalizer, BpeModel& model) {
  if (normalizer.is_null()) return;
  const std::string type = type_of(normalizer);
  if (type == "NFC") {
    model.wants_nfc = true;
  } else if (type == "Sequence") {
    for (const json& part : normalizer.at("normalizers")) read_normalizer(part, model);
  } else {
    refuse(fmt::format("the normalizer {}", type));
  }
}

/// A literal string as a pattern.
std::string quote(const std::string& literal) {
  std::string pattern;
  for (const char character : literal) {
    const auto byte = static_cast<unsigned char>(character);
    const bool plain = byte >= 0x80 || std::isalnum(byte) != 0;
    pattern += plain ? std::string(1, character) : fmt::format("\\x{{{:x}}}", byte);
  }
  return pattern;
}

SplitPattern read_split(const json& part) {
  const json& pattern = part.at("pattern");
  const auto expression = pattern.contains("Regex")
                              ? pattern["Regex"].get<std::string>()
                              : quote(pattern.at("String").get<std::string>());
  const auto behavior = part.at("behavior").get<std::string>();
  const bool invert = flag(part, "invert", false);
  if (behavior == "Isolated") return SplitPattern(expression);
  if (behavior == "Removed" && invert) return SplitPattern(expression, SplitPattern::Gaps::drop);
  refuse(fmt::format("the Split behavior {}{}", behavior, invert ? " inverted" : ""));
}

/// One step of pre-tokenization; true once it was the step to bytes.
bool read_pre_tokenizer(const json& part, BpeModel& model) {
  if (part.is_null()) return false;
  const std::string type = type_of(part);
  bool byte_level = false;
  if (type == "Sequence") {
    for (const json& step : part.at("pretokenizers")) {
      if (byte_level) refuse(fmt::format("the pre-tokenizer {} after ByteLevel", type_of(step)));
      byte_level = read_pre_tokenizer(step, model);
    }
  } else if (type == "ByteLevel") {
    if (flag(part, "add_prefix_space", true)) model.prefix_stage = model.splits.size();
    const bool own_pattern = flag(part, "use_regex", true);
    if (own_pattern) model.splits.emplace_back(std::string(kGpt2Pattern));
    byte_level = true;
  } else if (type == "Split") {
    model.splits.push_back(read_split(part));
  } else if (type == "Digits") {
    model.splits.emplace_back(flag(part, "individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)");
  } else {
    refuse(fmt::format("the pre-tokenizer {}", type));
  }
  return byte_level;
}

void refuse_options(const json& bpe) {
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json value = member(bpe, name);
    if (!value.is_null() && value != "") refuse(fmt::format("the BPE's {}", name));
  }
  if (flag(bpe, "byte_fallback", false)) refuse("the BPE's byte_fallback");
  const json dropout = member(bpe, "dropout");
  if (!dropout.is_null() && dropout != 0.0) refuse("the BPE's dropout");
}

/// Files of old versions of `tokenizers`, GPT-2's among them, name no type: a BPE is what has both
/// tables.
bool is_bpe(const json& model) {
  const auto is = [&](const char* name, json::value_t type) {
    return model.contains(name) && model.at(name).type() == type;
  };
  if (model.contains("type") && !model.at("type").is_null()) return type_of(model) == "BPE";
  return is("vocab", json::value_t::object) && is("merges", json::value_t::array);
}

void read_bpe(const json& bpe, Vocabulary& vocabulary, BpeModel& model) {
  if (!is_bpe(bpe)) refuse(fmt::format("the model {}", type_of(bpe)));
  refuse_options(bpe);
  model.whole_pieces = flag(bpe, "ignore_merges", false);
  vocabulary.read(bpe.at("vocab"));
  for (const json& merge : bpe.at("merges")) {
    if (merge.is_string()) {
      const auto pair = merge.get<std::string>();
      const std::size_t space = pair.find(' ');
      if (space == std::string::npos) throw Error(fmt::format("the merge '{}' is no pair", pair));
      vocabulary.add_merge(pair.substr(0, space), pair.substr(space + 1), model.merges);
    } else {
      vocabulary.add_merge(merge.at(0).get<std::string>(), merge.at(1).get<std::string>(),
                           model.merges);
    }
  }
}

void read_added_token(const json& token, const Vocabulary& vocabulary, BpeModel& model) {
  const auto content = token.at("content").get<std::string>();
  const auto id = token.at("id").get<std::int64_t>();
  if (content.empty() || id < 0 || id >= 1 << 24) {
    throw Error(fmt::format("the added token '{}' has the id {}", content, id));
  }
  const auto known = vocabulary.find(content);
  const auto index = static_cast<std::size_t>(id);
  const bool taken = !known && index < model.tokens.size() && !model.tokens[index].empty();
  if ((known && *known != id) || taken) {
    throw Error(fmt::format("the added token '{}' has the id {}, the vocabulary says otherwise",
                            content, id));
  }
  for (const char* name : {"single_word", "lstrip", "rstrip"}) {
    if (flag(token, name, false)) refuse(fmt::format("{} of the added token '{}'", name, content));
  }
  // Those that are not normalized are looked for in the raw text, before the others.
  model.special.push_back({content, static_cast<std::int32_t>(id),
                           !flag(token, "normalized", false), flag(token, "special", false)});
}

/// The template for one text, {"Sequence": {"id": "A", …}} among {"SpecialToken": {"id": …}, …}.
void read_template(const json& processor, BpeModel& model) {
  TextFrame frame;
  int texts = 0;
  for (const json& piece : processor.at("single")) {
    if (piece.contains("Sequence")) {
      if (piece["Sequence"].at("id") != "A") refuse("a template of one text with a second one");
      ++texts;
      continue;
    }
    const auto name = piece.at("SpecialToken").at("id").get<std::string>();
    for (const json& id : processor.at("special_tokens").at(name).at("ids")) {
      const auto number = id.get<std::int64_t>();
      const auto token = static_cast<std::int32_t>(number);
      if (token != number || !model.has_token(token)) {
        throw Error(
            fmt::format("the post-processor puts the id {} ('{}') beside a text, which "
                        "has no token",
                        number, name));
      }
      (texts == 0 ? frame.before : frame.after).push_back(token);
    }
  }
  if (texts != 1) refuse(fmt::format("a template for one text that holds {}", texts));
  // One that comes later goes around what is there.
  model.frame.before.insert(model.frame.before.begin(), frame.before.begin(), frame.before.end());
  model.frame.after.insert(model.frame.after.end(), frame.after.begin(), frame.after.end());
}

void read_post_processor(const json& processor, BpeModel& model) {
  if (processor.is_null()) return;
  const std::string type = type_of(processor);
  if (type == "ByteLevel") return;  // trims offsets
  if (type == "TemplateProcessing") return read_template(processor, model);
  if (type != "Sequence") refuse(fmt::format("the post-processor {}", type));
  for (const json& part : processor.at("processors")) read_post_processor(part, model);
}

BpeModel read_document(const json& document, const NamedEnds& ends) {
  BpeModel model;
  read_normalizer(member(document, "normalizer"), model);
  if (!read_pre_tokenizer(member(document, "pre_tokenizer"), model)) {
    refuse("a pre-tokenizer without ByteLevel");
  }
  Vocabulary vocabulary;
  read_bpe(document.at("model"), vocabulary, model);
  model.tokens = vocabulary.tokens();
  if (const json added = member(document, "added_tokens"); !added.is_null()) {
    for (const json& token : added) read_added_token(token, vocabulary, model);
  }
  read_post_processor(member(document, "post_processor"), model);
  set_ends(ends, vocabulary, model);
  return model;
}

}  // namespace

BpeModel read_hugging_face(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const bool folder = fs::is_directory(path, ignored);
  const MappedFile file(folder ? (fs::path(path) / "tokenizer.json").string() : path);
  const NamedEnds ends = read_named_ends(fs::path(file.path()).parent_path());
  try {
    BpeModel model = read_document(json::parse(file.text()), ends);
    model.name = "hf:" + path;
    return model;
  } catch (const json::exception& error) {
    throw Error(fmt::format("cannot read the tokenizer '{}': {}", file.path(), error.what()));
  } catch (const Error& error) {
    throw Error(fmt::format("cannot read the tokenizer '{}': {}", file.path(), error.what()));
  }
}

}  // namespace train::detail

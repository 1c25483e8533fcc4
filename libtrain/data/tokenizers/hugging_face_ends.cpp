#include "libtrain/data/tokenizers/hugging_face_ends.hpp"

#include <algorithm>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "libtrain/data/mapped_file.hpp"

namespace train::detail {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* well_known[] = {"<|endoftext|>", "<|end_of_text|>", "</s>",
                                      "<｜end▁of▁sentence｜>", "<|im_end|>"};

/// A member of a file's object; null where there is no such file or member.
json member_of(const fs::path& path, const char* name) {
  std::error_code none;
  if (!fs::exists(path, none)) return nullptr;
  const MappedFile file(path.string());
  const json document = json::parse(file.text(), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) throw Error(fmt::format("'{}' is no JSON object", path.string()));
  const auto found = document.find(name);
  return found == document.end() ? json(nullptr) : *found;
}

const SpecialToken* find_special(const BpeModel& model, std::int64_t id) {
  const auto found = std::ranges::find(model.special, id, &SpecialToken::id);
  return found == model.special.end() ? nullptr : &*found;
}

std::optional<std::int32_t> find_token(const std::string& text, const Vocabulary& vocabulary,
                                       const BpeModel& model) {
  const auto found = std::ranges::find(model.special, text, &SpecialToken::text);
  return found == model.special.end() ? vocabulary.find(text) : std::optional(found->id);
}

}  // namespace

NamedEnds read_named_ends(const fs::path& folder) {
  NamedEnds ends;
  json token = member_of(folder / "tokenizer_config.json", "eos_token");
  // Either a string, or the token with its properties.
  if (token.is_object()) token = token.value("content", json(nullptr));
  if (token.is_string()) ends.token = token.get<std::string>();
  for (const char* file : {"generation_config.json", "config.json"}) {
    const json ids = member_of(folder / file, "eos_token_id");
    for (const json& id : ids.is_array() ? ids : json::array({ids})) {
      if (id.is_number_integer()) ends.ids.push_back(id.get<std::int64_t>());
    }
  }
  return ends;
}

void set_ends(const NamedEnds& named, const Vocabulary& vocabulary, BpeModel& model) {
  std::vector<std::int32_t> ends;
  const auto add = [&](std::int32_t id) {
    if (std::ranges::count(ends, id) == 0) ends.push_back(id);
  };
  if (named.token) {
    if (const auto id = find_token(*named.token, vocabulary, model)) add(*id);
  }
  for (const std::int64_t id : named.ids) {
    if (const SpecialToken* token = find_special(model, id)) add(token->id);
  }
  for (const char* name : well_known) {
    const auto found = std::ranges::find(model.special, name, &SpecialToken::text);
    if (ends.empty() && found != model.special.end()) add(found->id);
  }
  if (ends.empty()) return;
  model.end_of_text = ends.front();
  model.other_ends.assign(ends.begin() + 1, ends.end());
}

}  // namespace train::detail

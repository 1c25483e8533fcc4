#include "libtrain/data/tokenizers/vocabulary.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizers/byte_level.hpp"

namespace train::detail {

void Vocabulary::read(const nlohmann::json& ids) {
  if (!ids.is_object() || ids.empty()) throw Error("the vocabulary is no table of tokens and ids");
  for (const auto& [token, id] : ids.items()) add(token, id.get<std::int64_t>());
}

void Vocabulary::append(const std::string& token) {
  add(token, static_cast<std::int64_t>(tokens_.size()));
}

void Vocabulary::add(const std::string& token, std::int64_t id) {
  constexpr std::int64_t kMostIds = 1 << 24;  // beyond it, a damaged file would exhaust memory
  if (token.empty()) throw Error(fmt::format("the token of id {} is empty", id));
  if (id < 0 || id >= kMostIds) {
    throw Error(fmt::format("the id {} of token '{}' is out of range", id, token));
  }
  auto bytes = from_byte_level(token);
  if (!put_token(tokens_, static_cast<std::int32_t>(id), bytes ? *std::move(bytes) : token)) {
    throw Error(fmt::format("the id {} of token '{}' belongs to another token", id, token));
  }
  if (!ids_.emplace(token, static_cast<std::int32_t>(id)).second) {
    throw Error(fmt::format("the token '{}' is there twice", token));
  }
}

std::optional<std::int32_t> Vocabulary::find(const std::string& token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

void Vocabulary::add_merge(const std::string& left, const std::string& right,
                           BpeMerges& merges) const {
  const auto id_of = [&](const std::string& token) {
    const auto id = find(token);
    if (id) return *id;
    throw Error(
        fmt::format("the merge of '{}' and '{}' needs the token '{}', which is not in the "
                    "vocabulary",
                    left.substr(0, 80), right.substr(0, 80), token.substr(0, 80)));
  };
  if (!merges.add({id_of(left), id_of(right), id_of(left + right)})) {
    throw Error(
        fmt::format("'{}' and '{}' are merged twice", left.substr(0, 80), right.substr(0, 80)));
  }
}

bool put_token(std::vector<std::string>& tokens, std::int32_t id, std::string bytes) {
  const auto index = static_cast<std::size_t>(id);
  if (index >= tokens.size()) tokens.resize(index + 1);
  if (!tokens[index].empty()) return false;
  tokens[index] = std::move(bytes);
  return true;
}

std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char digit : text) {
    const std::size_t value = kDigits.find(digit);
    if (value == std::string_view::npos) return std::nullopt;
    bits = (bits << 6 | static_cast<std::uint32_t>(value)) & 0xffffffu;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xffu);
  }
  return bytes;
}

}  // namespace train::detail

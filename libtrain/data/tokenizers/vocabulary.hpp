#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "libtrain/data/tokenizers/bpe_merges.hpp"

namespace train::detail {

/// Tokens by the strings that a vocabulary file has for them, while the file is read. A string in
/// GPT-2's visible alphabet stands for the bytes it spells, any other for its own UTF-8.
class Vocabulary {
 public:
  /// Reads {string: id, …}. Throws Error naming an id that is out of range or taken.
  void read(const nlohmann::json& ids);

  /// Adds a string with the next id. Throws Error if it is there already.
  void append(const std::string& token);

  std::optional<std::int32_t> find(const std::string& token) const;

  /// Appends the merge of two strings. Throws Error naming the string that is not in the
  /// vocabulary, or the pair that is merged twice.
  void add_merge(const std::string& left, const std::string& right, BpeMerges& merges) const;

  /// Id to bytes; empty where there is no token.
  const std::vector<std::string>& tokens() const { return tokens_; }

 private:
  void add(const std::string& token, std::int64_t id);

  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<std::string> tokens_;
};

/// Sets tokens[id], growing the vector as needed; false if it is set already.
bool put_token(std::vector<std::string>& tokens, std::int32_t id, std::string bytes);

/// The bytes of standard base64 (RFC 4648), padded; nothing if it is none.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace train::detail

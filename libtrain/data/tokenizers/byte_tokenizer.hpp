#pragma once

#include "libtrain/data/tokenizer.hpp"

namespace train::detail {

/// Every byte is its own id.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int32_t vocabulary_size() const override { return 256; }
  std::optional<std::int32_t> end_of_text() const override { return std::nullopt; }
  std::string name() const override { return "bytes"; }
  std::string to_json() const override { return R"({"kind":"bytes"})"; }
  std::optional<std::string> to_hugging_face() const override;
};

}  // namespace train::detail

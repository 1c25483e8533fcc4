#include "libtrain/data/tokenizers/byte_tokenizer.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizers/hugging_face.hpp"

namespace train::detail {

std::vector<std::int32_t> ByteTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  ids.reserve(text.size());
  for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
  return ids;
}

std::string ByteTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const std::int32_t id : ids) {
    if (id < 0 || id > 255) throw Error(fmt::format("id {} is no byte (0 to 255)", id));
    text += static_cast<char>(id);
  }
  return text;
}

std::optional<std::string> ByteTokenizer::to_hugging_face() const {
  BpeModel model;  // of no merges
  for (int byte = 0; byte < 256; ++byte) model.tokens.emplace_back(1, static_cast<char>(byte));
  return write_hugging_face(model);
}

}  // namespace train::detail

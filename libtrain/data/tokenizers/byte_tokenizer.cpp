#include "libtrain/data/tokenizers/byte_tokenizer.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"

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

}  // namespace train::detail

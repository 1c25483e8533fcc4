#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizer.hpp"
#include "libtrain/data/tokenizers/bpe_tokenizer.hpp"
#include "libtrain/data/tokenizers/byte_tokenizer.hpp"
#include "libtrain/data/tokenizers/gpt2_files.hpp"
#include "libtrain/data/tokenizers/hugging_face.hpp"

namespace train {

std::shared_ptr<const Tokenizer> make_tokenizer(std::string_view specification) {
  constexpr std::string_view kGpt2 = "gpt2:";
  constexpr std::string_view kHuggingFace = "hf:";
  const auto path_after = [&](std::string_view prefix) {
    return std::string(specification.substr(prefix.size()));
  };
  if (specification == "bytes") return std::make_shared<detail::ByteTokenizer>();
  if (specification.starts_with(kGpt2)) {
    return std::make_shared<detail::BpeTokenizer>(detail::read_gpt2(path_after(kGpt2)));
  }
  if (specification.starts_with(kHuggingFace)) {
    return std::make_shared<detail::BpeTokenizer>(
        detail::read_hugging_face(path_after(kHuggingFace)));
  }
  if (specification == "chars") {
    throw Error(
        "--tokenizer chars takes its characters from training text, and there is none here");
  }
  throw Error(
      fmt::format("unknown tokenizer '{}'; expected bytes, chars, gpt2:FILE or "
                  "hf:tokenizer.json",
                  specification));
}

}  // namespace train

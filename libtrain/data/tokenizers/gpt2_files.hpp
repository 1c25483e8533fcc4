#pragma once

#include <string>

#include "libtrain/data/tokenizers/bpe_tokenizer.hpp"

namespace train::detail {

/// Reads GPT-2's vocabulary from any of the files it is passed around in; see make_tokenizer().
BpeModel read_gpt2(const std::string& path);

}  // namespace train::detail

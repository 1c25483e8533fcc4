#pragma once

#include <optional>
#include <string>

#include "libtrain/data/tokenizers/bpe_tokenizer.hpp"

namespace train::detail {

/// Reads a tokenizer.json of Hugging Face's tokenizers, or the one in a folder. Taken: BPE models
/// on byte-level text, with merges of either form and ignore_merges; added tokens; the
/// pre-tokenizers ByteLevel, Split (isolated, or removed and inverted), Digits, and sequences of
/// them; the normalizer NFC, for text it leaves alone; of post-processors, the template for a
/// single text (BpeModel::frame). Truncation and padding are not applied.
/// Throws Error naming the file and whatever else it asks for.
BpeModel read_hugging_face(const std::string& path);

/// A tokenizer.json that makes the same ids; nothing for a model that cannot be said in one.
std::optional<std::string> write_hugging_face(const BpeModel& model);

}  // namespace train::detail

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libtrain/data/token_source.hpp"
#include "libtrain/data/tokenizer.hpp"

namespace train {

/// What kind of file tokens come from.
enum class DataKind : std::uint8_t { llmc_shards, megatron, text };

/// Training data, opened.
struct Data {
  std::shared_ptr<const TokenSource> source;
  /// Turns ids back into text. Always there for text; for token files only if one was given.
  std::shared_ptr<const Tokenizer> tokenizer;
  DataKind kind = DataKind::text;
  /// Texts that follow each other without a mark where one ends; 0 where there are marks, or there
  /// is one text.
  std::size_t unmarked_texts = 0;
};

/// Opens everything that `patterns` name (see find_files) as one sequence, in order: token shards
/// of llm.c (known by their magic number), Megatron pairs (an .idx, or a .bin with its .idx beside
/// it), and anything else as text. `tokenizer` is a specification (see make_tokenizer, and
/// `chars`); left empty it is `bytes` for text and none for token files. Each text is a document
/// (see encode_document); between two stands the tokenizer's end-of-text id. Where it has none,
/// and with `bytes` and `chars`, one text follows the other without a mark. Files are mapped, not
/// loaded; only text with a tokenizer other than `bytes` takes memory, 4 bytes per token in every
/// process. Throws Error naming the pattern or file that is missing, unreadable, empty, damaged, or
/// of another kind than the first.
Data open_data(const std::vector<std::string>& patterns, std::string_view tokenizer = "");

/// The same with a tokenizer that exists already: that of a saved model, or of the training text
/// for its validation text. None given: as above, left empty.
Data open_data(const std::vector<std::string>& patterns,
               std::shared_ptr<const Tokenizer> tokenizer);

}  // namespace train

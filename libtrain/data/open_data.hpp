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

/// Tokens of one source of a mixture; of all data where there are no weights.
struct DataSource {
  std::shared_ptr<const TokenSource> tokens;
  DataKind kind = DataKind::text;
  std::string name = "1";  ///< as given, or its number from 1
  double weight = 1.0;     ///< as a part of the sum of all
};

/// Training data, opened.
struct Data {
  std::vector<DataSource> sources;  ///< at least one
  /// Turns ids back into text. Always there for text; for token files only if one was given.
  std::shared_ptr<const Tokenizer> tokenizer;
  /// Texts that follow each other without a mark where one ends; 0 where there are marks, or no
  /// text follows another.
  std::size_t unmarked_texts = 0;
  /// Files of text that are left out, because nothing is in them.
  std::size_t empty_texts = 0;
};

/// Opens everything that `patterns` name, in order: token shards of llm.c (known by their magic
/// number), Megatron pairs (an .idx, or a .bin with its .idx beside it), and anything else as text.
/// Words among the patterns that are weights begin sources of a mixture (see split_sources);
/// without them all files are one source. The files of a source are one sequence, of one kind.
///
/// `tokenizer` is a specification (see make_tokenizer, and `chars`); left empty it is `bytes` for
/// text and none for token files. All sources share it: where some are text and others are token
/// files it has to be given, and some thousands of the token files' ids are checked against it.
/// Shards of both of llm.c's formats need it, too.
/// Each text is a document (see encode_document); between two stands the tokenizer's end-of-text
/// id. Where it has none, and with `bytes` and `chars`, one text follows the other without a mark.
/// Files are mapped, not loaded; only text with a tokenizer other than `bytes` takes memory, 4
/// bytes per token in every process. Empty files beside texts are left out.
///
/// Throws Error naming the pattern or file that is missing, unreadable, empty, damaged, compressed,
/// of another kind than the first of its source, in two sources, or of another tokenizer.
Data open_data(const std::vector<std::string>& patterns, std::string_view tokenizer = "");

/// The same with a tokenizer that exists already: that of a saved model, or of the training text
/// for its validation text. None given: as above, left empty.
Data open_data(const std::vector<std::string>& patterns,
               std::shared_ptr<const Tokenizer> tokenizer);

}  // namespace train

#pragma once

#include <string>

#include "libtrain/data/open_data.hpp"

namespace train::detail {

/// What a file is taken for, and the file to open: of a Megatron pair, the .idx.
struct FileKind {
  DataKind kind;
  std::string path;
};

/// Known by the magic number of token shards, the names of Megatron pairs, and .bin, as which
/// shards that are damaged are told from text. Anything else is text.
FileKind kind_of_file(const std::string& path);

/// "a token shard of llm.c", …
const char* name_of(DataKind kind);

}  // namespace train::detail

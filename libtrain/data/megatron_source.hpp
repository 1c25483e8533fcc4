#pragma once

#include <memory>
#include <string>

#include "libtrain/data/token_source.hpp"

namespace train {

/// Opens the pair BASE.bin and BASE.idx that Megatron-LM's preprocess_data writes
/// (indexed_dataset.py), as one sequence: the index's sequences in their order. `index_path` names
/// the .idx. Memory: 8 bytes per sequence if they do not follow one another in the .bin, else none.
/// Throws Error naming the file if the index's magic, version or size is wrong, its element type
/// is no integer, or a sequence lies outside the .bin.
std::shared_ptr<const TokenSource> open_megatron(const std::string& index_path);

}  // namespace train

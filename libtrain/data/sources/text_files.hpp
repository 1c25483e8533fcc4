#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "libtrain/data/mapped_file.hpp"

namespace train::detail {

/// Whether a file is a text to train on, which one without a byte is not. Throws Error naming it
/// where it begins as a compressed file or a container of tables does: its bytes are no text, and
/// nothing would tell that a model learned them.
bool is_text(const MappedFile& file);

/// Throws Error where files were found and none of them is a text.
void require_text(const std::vector<std::string>& paths, std::size_t texts);

}  // namespace train::detail

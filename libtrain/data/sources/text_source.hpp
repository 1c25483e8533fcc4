#pragma once

#include <memory>

#include "libtrain/data/mapped_file.hpp"
#include "libtrain/data/token_source.hpp"
#include "libtrain/data/tokenizer.hpp"

namespace train::detail {

/// The bytes of a file as ids 0 to 255, read from the map: no memory of its own.
std::shared_ptr<const TokenSource> make_byte_source(MappedFile file);

/// A text as the tokenizer's document in memory, 4 bytes per token, followed by `separator` if that
/// is not negative. Throws Error naming the file if the tokenizer refuses its text.
std::shared_ptr<const TokenSource> make_text_source(const MappedFile& file,
                                                    const Tokenizer& tokenizer,
                                                    std::int32_t separator);

}  // namespace train::detail

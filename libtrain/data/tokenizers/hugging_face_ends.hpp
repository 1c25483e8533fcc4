#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "libtrain/data/tokenizers/bpe_tokenizer.hpp"
#include "libtrain/data/tokenizers/vocabulary.hpp"

namespace train::detail {

/// What the files beside a tokenizer.json say of where texts end.
struct NamedEnds {
  std::optional<std::string> token;  ///< tokenizer_config.json's eos_token
  std::vector<std::int64_t> ids;     ///< eos_token_id of generation_config.json, then config.json
};

/// Reads them where they are. Throws Error naming a file that is damaged.
NamedEnds read_named_ends(const std::filesystem::path& folder);

/// Sets where texts of the model end. An id counts if it is an added token's, since config.json may
/// hold a default that means nothing to this vocabulary. Where the files name none that there is,
/// an added token with a well-known name serves.
void set_ends(const NamedEnds& named, const Vocabulary& vocabulary, BpeModel& model);

}  // namespace train::detail

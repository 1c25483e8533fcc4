#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace train {

/// Files that are read as one source, and what part of a mixture it is.
struct SourcePatterns {
  std::string name;     ///< as given, or its number from 1
  double weight = 1.0;  ///< as a part of the sum of all
  std::vector<std::string> patterns;
};

/// Whether a word of --data begins a source of a mixture.
bool is_weight(std::string_view word);

/// What --data says as sources: a word `weight=0.7` or `weight=0.7,name=web` begins one, and the
/// patterns behind it (see find_files) are its files. Without such a word all patterns are one
/// source. Weights need not add to 1. (A file of such a name is `./weight=0.7`.)
/// Throws Error naming the word for a weight that is not a positive, finite number, one without
/// files, files without one, and names that are used twice or are more than letters, digits, - and
/// _; and for a bare number that is no file, as others write weights.
std::vector<SourcePatterns> split_sources(const std::vector<std::string>& words);

}  // namespace train

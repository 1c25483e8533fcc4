#pragma once

#include <source_location>
#include <stdexcept>
#include <string>

namespace train {

/// What the environment did: a peer gone, a file damaged, a bad flag. The message says what was
/// tried, where (rank, file, flag), what was found, and what to do.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Ends the program if `holds` is false: a mistake in the library, or a broken promise of the
/// caller that no input from outside can cause. Names the place that called.
void invariant(bool holds, const char* what,
               std::source_location where = std::source_location::current());

/// For branches that no valid value reaches.
[[noreturn]] void unreachable(const char* what,
                              std::source_location where = std::source_location::current());

}  // namespace train

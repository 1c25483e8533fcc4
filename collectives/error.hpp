#pragma once

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
/// caller that no input from outside can cause. Names the place that called (by the builtins, since
/// Debian 12's clang has no std::source_location).
void invariant(bool holds, const char* what, const char* file = __builtin_FILE(),
               int line = __builtin_LINE());

/// For branches that no valid value reaches.
[[noreturn]] void unreachable(const char* what, const char* file = __builtin_FILE(),
                              int line = __builtin_LINE());

}  // namespace train

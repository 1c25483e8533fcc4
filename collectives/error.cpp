#include "collectives/error.hpp"

#include <cstdio>
#include <cstdlib>

namespace train {

void invariant(bool holds, const char* what, const char* file, int line) {
  if (!holds) [[unlikely]] {
    unreachable(what, file, line);
  }
}

void unreachable(const char* what, const char* file, int line) {
  std::fprintf(stderr, "libtrain: broken invariant: %s (%s:%d)\n", what, file, line);
  std::abort();
}

}  // namespace train

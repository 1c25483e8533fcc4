#include "collectives/error.hpp"

#include <cstdio>
#include <cstdlib>

namespace train {

void invariant(bool holds, const char* what, std::source_location where) {
  if (!holds) [[unlikely]]
    unreachable(what, where);
}

void unreachable(const char* what, std::source_location where) {
  std::fprintf(stderr, "libtrain: broken invariant: %s (%s:%u, %s)\n", what, where.file_name(),
               static_cast<unsigned>(where.line()), where.function_name());
  std::abort();
}

}  // namespace train

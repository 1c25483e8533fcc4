#pragma once

#include <cstdio>
#include <cstdlib>

namespace emulated {

/// Ends the program: code under test did what on a GPU is undefined.
[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "emulated CUDA: %s\n", what);
  std::abort();
}

}  // namespace emulated

#include "examples/gpt/log.hpp"

#include <cstdio>

void log_line(std::string line) {
  line += '\n';
  // In one call, so that lines of several ranks do not mix.
  static_cast<void>(std::fwrite(line.data(), 1, line.size(), stderr));
}

#pragma once

#include <functional>
#include <string>

/// One line on stderr. A stderr that is full or gone is no reason to stop: never throws.
void log_line(std::string line);

/// Where a program puts lines beside its progress; from any thread.
using Say = std::function<void(const std::string&)>;

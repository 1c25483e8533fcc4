#pragma once

#include <string>

/// One line on stderr. A stderr that is full or gone is no reason to stop: never throws.
void log_line(std::string line);

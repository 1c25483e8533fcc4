#pragma once

#include <string_view>

namespace train {

/// One line on standard error, in one write as long as it is short, so that lines of several ranks
/// do not mix. One that cannot be written (a full disk, nobody there) is lost, and nothing else:
/// never throws, and leaves the exit status alone.
void log_line(std::string_view line) noexcept;

/// Before a program opens anything: takes those of the descriptors 0 to 2 that are closed, so that
/// no file of the program's becomes its standard output or error. Their use fails as before.
void occupy_standard_descriptors() noexcept;

/// For a program whose result is what it prints, at its end. Throws Error when the rest cannot be
/// written.
void flush_standard_output();

}  // namespace train

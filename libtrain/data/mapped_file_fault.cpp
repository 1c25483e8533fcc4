#include "libtrain/data/mapped_file_fault.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

namespace train {
namespace {

// Everything here runs in a signal's handler: no memory, no streams.

/// What is said at once, so that several ranks' words do not mix.
class Line {
 public:
  void add(std::string_view text) {
    text = text.substr(0, text_.size() - size_);
    std::memcpy(text_.data() + size_, text.data(), text.size());
    size_ += text.size();
  }
  void say() const {
    // Nobody is left to hear that it cannot be said.
    [[maybe_unused]] const ssize_t said = ::write(STDERR_FILENO, text_.data(), size_);
  }

 private:
  std::array<char, 8192> text_;
  std::size_t size_ = 0;
};

/// Reads hexadecimal digits off the front.
std::uintptr_t take_number(std::string_view& text) {
  std::uintptr_t number = 0;
  for (; !text.empty(); text.remove_prefix(1)) {
    const std::size_t digit = std::string_view("0123456789abcdef").find(text.front());
    if (digit == std::string_view::npos) break;
    number = number << 4 | digit;
  }
  return number;
}

/// Of a line "7f00-7f10 r--p 00000000 08:01 42      /path", the path if the address lies there.
std::string_view path_in(std::string_view line, std::uintptr_t address) {
  const std::uintptr_t begin = take_number(line);
  if (!line.starts_with('-')) return {};
  line.remove_prefix(1);
  const std::uintptr_t end = take_number(line);
  const std::size_t path = line.find('/');
  return address < begin || address >= end || path == std::string_view::npos ? std::string_view()
                                                                             : line.substr(path);
}

void add_path(Line& line, std::uintptr_t address) {
  const int file = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  std::array<char, 8192> lines;
  std::size_t held = 0;
  while (file >= 0) {
    const ssize_t count = ::read(file, lines.data() + held, lines.size() - held);
    if (count <= 0) break;
    held += static_cast<std::size_t>(count);
    std::string_view rest(lines.data(), held);
    for (std::size_t end; (end = rest.find('\n')) != std::string_view::npos;) {
      const std::string_view path = path_in(rest.substr(0, end), address);
      rest.remove_prefix(end + 1);
      if (path.empty()) continue;
      line.add(path);
      ::close(file);
      return;
    }
    held = rest.size();
    std::memmove(lines.data(), rest.data(), held);
  }
  if (file >= 0) ::close(file);
  line.add("a file");
}

void on_fault(int, siginfo_t* fault, void*) {
  Line line;
  line.add("error: ");
  add_path(line, reinterpret_cast<std::uintptr_t>(fault->si_addr));
  line.add(
      " became shorter while it was read, or its disk fails: data have to stay as they are until "
      "the run ends\n");
  line.say();
  // The read is tried again, and ends the process: SA_RESETHAND.
}

}  // namespace

MappedFileFault::MappedFileFault() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = static_cast<int>(SA_SIGINFO | SA_RESETHAND | SA_ONSTACK);
  sigaction(SIGBUS, &action, &before_);
}

MappedFileFault::~MappedFileFault() {
  sigaction(SIGBUS, &before_, nullptr);
}

}  // namespace train

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace train {

/// How a program shows that it moves.
enum class Progress : std::uint8_t {
  automatic,  ///< live on a terminal, plain elsewhere
  live,       ///< one line, rewritten in place
  plain,      ///< a line now and then
  none,
};

/// "auto", "live", "plain" or "none"; anything else is an Error that lists them.
Progress progress_from(std::string_view name);

/// The terminal that a file descriptor's text ends up on, if any. Open MPI gives its ranks
/// pseudo-terminals whatever mpirun's own output is, so for a rank of mpirun the answer is where
/// the output of mpirun goes: the nearest ancestor process that is not a rank itself. Ranks whose
/// mpirun runs on another node have no terminal. Linux: reads /proc.
class Terminal {
 public:
  explicit Terminal(int descriptor);
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal();

  bool exists() const { return descriptor_ >= 0; }
  /// Its width now: $COLUMNS, else what the terminal says, else 80.
  std::size_t columns() const;

 private:
  int descriptor_ = -1;  // a handle of its own, for asking the width
};

/// Replaces `automatic` by live or plain.
Progress resolved(Progress wanted, const Terminal& terminal);

}  // namespace train

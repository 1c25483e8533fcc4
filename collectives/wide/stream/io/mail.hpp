#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace train::wide::detail {

/// The small messages of a link, in order and once each: they are numbered, kept until the peer has
/// them, and sent again over another stream when theirs dies. One stream carries them at a time.
/// Its link's lock guards it.
class Mail {
 public:
  static constexpr std::size_t kept_bytes_max = 16 << 20;

  struct Letter {
    std::uint64_t number;
    std::vector<std::byte> content;
  };

  /// False if too much is unacknowledged.
  bool post(std::span<const std::byte> content);
  /// What `carrier` should send next; a new carrier begins with all that is unacknowledged.
  std::optional<Letter> next(std::uint64_t carrier);
  void on_received(std::uint64_t number);

  /// Whether a message that came is the next one; else it came before, or too soon: its
  /// predecessors were lost and will come again.
  bool accept(std::uint64_t number);
  /// The highest number that was accepted.
  std::uint64_t accepted() const { return accepted_; }

  /// The peer is another process.
  void clear();

 private:
  std::deque<Letter> kept_;
  std::size_t kept_bytes_ = 0, sent_ = 0;  // letters of kept_ that `carrier_` has sent
  std::uint64_t posted_ = 0, accepted_ = 0, carrier_ = 0;
};

}  // namespace train::wide::detail

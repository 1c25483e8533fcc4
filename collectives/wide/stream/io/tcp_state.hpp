#pragma once

#include <cstdint>

namespace train::wide::detail {

/// What the kernel says of a connection's sending, since it began.
struct TcpState {
  /// Time with something to send, and the part of it in which the socket's buffer or the receiver's
  /// window, rather than the network, was what held it back.
  std::uint64_t busy_us = 0, buffered_us = 0;
  std::uint64_t segments = 0, segments_again = 0;
  std::uint64_t acknowledged = 0;  ///< bytes that the peer's system has

  TcpState& operator+=(const TcpState& other);
  TcpState operator-(const TcpState& other) const;

  /// Whether a second connection would add to this one: buffers hold it back, or losses, which each
  /// connection answers by itself. Else it has all that the network gives.
  bool is_held_back() const;
};

/// All 0 if `socket` is none of TCP.
TcpState tcp_state_of(int socket);

}  // namespace train::wide::detail

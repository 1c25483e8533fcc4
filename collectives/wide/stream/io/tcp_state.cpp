#include "collectives/wide/stream/io/tcp_state.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace train::wide::detail {

TcpState& TcpState::operator+=(const TcpState& other) {
  busy_us += other.busy_us;
  buffered_us += other.buffered_us;
  segments += other.segments;
  segments_again += other.segments_again;
  acknowledged += other.acknowledged;
  return *this;
}

TcpState TcpState::operator-(const TcpState& other) const {
  return {busy_us - other.busy_us, buffered_us - other.buffered_us, segments - other.segments,
          segments_again - other.segments_again, acknowledged - other.acknowledged};
}

bool TcpState::is_held_back() const {
  // Buffers that are too small hold a connection back all the time; others do so now and then.
  const bool by_buffers = 10 * buffered_us > 9 * busy_us;
  // One in 10,000 is where a single connection of the usual kind does 100 Mbit/s over 50 ms.
  const bool by_losses = segments_again >= 10 && 10'000 * segments_again > segments;
  return by_buffers || by_losses;
}

TcpState tcp_state_of(int socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return {};
  return {info.tcpi_busy_time, info.tcpi_rwnd_limited + info.tcpi_sndbuf_limited,
          info.tcpi_data_segs_out, info.tcpi_total_retrans, info.tcpi_bytes_acked};
}

}  // namespace train::wide::detail

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "collectives/wide/stream/peer_name.hpp"
#include "collectives/wide/stream/transfer.hpp"
#include "collectives/work.hpp"

namespace train::wide {

/// The cap and the start of a link's count of streams when it is found by measurement.
struct AutoStreams {
  int first = 8;
  int most = 32;
};

struct LinkOptions {
  static constexpr int streams_max = 64;

  /// "host:port", "[::1]:port"; tried in turn. Empty: this end waits for the peer to dial. One end
  /// should dial; if both do, the link has up to twice as many streams.
  std::vector<std::string> addresses{};
  /// Streams to keep open, for the end that dials. Unset: grows while throughput grows. To lower it
  /// closes some; what is under way on them goes over the others.
  std::optional<int> streams{};
  AutoStreams auto_streams{};
  /// Carries small messages only, which shall not be late where others fill the way: what is lost
  /// is sent again within a second each time, where the system can (Linux 6.15).
  bool is_thin = false;
  /// Pieces of a transfer, each sent over one stream; the receiving end's value counts. 4 KiB to
  /// 4 MiB.
  std::size_t chunk_bytes = 128 << 10;
};

/// What crossed a link since it was made, streams that are gone included.
struct LinkTraffic {
  /// Bytes of transfers and messages, without headers; a chunk sent again counts again.
  std::uint64_t payload_sent = 0, payload_received = 0;
  /// Bytes given to and taken from the sockets: payload, frames, TLS records and handshakes of
  /// established streams; without the headers of TCP and IP (about 2.7% at an MTU of 1500).
  std::uint64_t wire_sent = 0, wire_received = 0;
  /// Bytes that the peer's system has acknowledged, and the time that streams had something to send
  /// or to be acknowledged, summed over streams: the kernel's count, up to 0.1 s old.
  std::uint64_t acknowledged = 0, busy_us = 0;
};

struct SendOptions {
  /// How much of the memory is filled already; Transfer::release() says when more is.
  std::optional<std::size_t> ready_bytes{};
  /// Its chunks go before those of transfers that are not, of the same link, whichever came first.
  bool is_urgent = false;
};

/// All that passes between this node and one peer, over several parallel streams. Made by Node;
/// a handle that may be copied. Thread-safe. Operations wait while no stream is open: they end by
/// their deadline, or at once when the peer says goodbye or comes back as another process.
class Link {
 public:
  class Impl;
  explicit Link(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

  /// Whether both are of the same streams: a peer's later process has another link.
  bool operator==(const Link&) const = default;

  const PeerName& peer() const;

  /// A small message, at most message_bytes_max. Delivered in order and once, lost streams
  /// notwithstanding, unless the link closes or the peer's process ends; the peer's
  /// NodeEvents::on_message gets it. Throws Error when unacknowledged messages exceed 16 MiB, or
  /// the link is closed.
  void post(std::span<const std::byte> message);

  /// Moves bytes to the peer's receive() of the same id and size, whichever comes first. Sends when
  /// the peer is ready: to lose no round trip, receivers post early. An id names one transfer in
  /// each direction for the life of the link: a retry takes a new one.
  Transfer send(std::uint64_t id, std::span<const std::byte> memory, Deadline deadline,
                SendOptions options = {});
  Transfer receive(std::uint64_t id, std::span<std::byte> memory, Deadline deadline);

  /// Waits until a stream is open; false when `deadline` came first.
  [[nodiscard]] bool wait_connected(Deadline deadline);
  /// Streams open now.
  int streams() const;
  LinkTraffic traffic() const;

  /// Fails what is under way, here and at the peer, with `reason`; closes all streams.
  void close(const std::string& reason);

  static constexpr std::size_t message_bytes_max = 1 << 20;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace train::wide

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collectives/wide/stream/link.hpp"
#include "collectives/wide/stream/peer_name.hpp"
#include "collectives/wide/stream/tls.hpp"

namespace train::wide {

/// Called one at a time, on one thread of the node. They may use links, but not wait for them.
struct NodeEvents {
  std::function<void(const PeerName&, std::vector<std::byte> message)> on_message{};
  /// The first stream of a link is open. A peer that dials in needs no call of Node::link() first.
  std::function<void(const PeerName&)> on_up{};
  /// The last stream of a link is gone; the link goes on trying if it dials.
  std::function<void(const PeerName&, const std::string& reason)> on_down{};
  /// The peer has streams to another process of this node's name that began later, and refused
  /// this one's: of two, the later one stays.
  std::function<void(const PeerName&, const std::string& reason)> on_replaced{};
  /// One readable line: who was refused and why, which peer cannot be reached.
  std::function<void(const std::string& line)> on_log{};
};

struct SocketOptions {
  /// Unset: the kernel tunes the buffers itself, which a set size switches off.
  std::optional<int> send_buffer_bytes{}, receive_buffer_bytes{};
  /// A stream whose data is not acknowledged for so long is given up.
  std::chrono::milliseconds unacknowledged_max{15'000};
  /// For LinkOptions::is_thin, of all links.
  bool is_thin = false;
};

struct NodeOptions {
  /// The directory of this cluster's certificate. Unset needs `plaintext`.
  std::optional<TlsFiles> tls{};
  /// No encryption and no proof of who the peer is; then `name` says who this end is. Only
  /// loopback addresses are dialled, listened to and accepted.
  bool plaintext = false;
  /// This end's cluster. With TLS, empty or equal to the certificate's name.
  std::string name{};
  std::uint32_t lane = 0;
  /// Threads that move and encrypt bytes; each stream stays on one. 0: half of the cores, 1 to 4.
  int threads = 0;
  SocketOptions sockets{};
  /// From the connection to the end of both introductions.
  std::chrono::milliseconds handshake_max{10'000};
  /// More peers than this in the middle of their introduction: the oldest is dropped of the address
  /// that has most of them.
  int pending_handshakes_max = 128;
  NodeEvents events{};
};

/// One process's end of all its links. Not to be destroyed by one of its own events.
class Node {
 public:
  class Impl;

  /// Throws Error for bad certificates, or neither TLS nor plaintext.
  explicit Node(NodeOptions options);
  /// Says goodbye to the peers; whatever is under way fails.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const PeerName& name() const;

  /// Accepts streams at "host:port" (port 0: any free one) until the node is gone; returns the
  /// port. Throws Error that names the address.
  std::uint16_t listen(const std::string& address);

  /// The link to `peer`, made and dialled if there is none. An open link that came about by the
  /// peer's dialling takes over `options`.
  Link link(const PeerName& peer, LinkOptions options = {});

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace train::wide

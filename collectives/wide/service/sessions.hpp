#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "collectives/wide/protocol/actions.hpp"
#include "collectives/wide/stream/peer_name.hpp"

namespace train::wide {

/// The coordinator's end of all connections: which number of which peer is which session. A peer
/// has one at a time. What a link delivers is in order, so another number is a later one.
class Sessions {
 public:
  struct Arrival {
    SessionId session = 0;    // that the message belongs to; 0: to none that is open
    SessionId ended = 0;      // that it put an end to; 0: none
    bool say_closed = false;  // the peer does not know yet that this connection is closed
  };
  Arrival arrived(const PeerName& peer, std::uint64_t number);

  /// The link is down, or was closed by the peer: the session that ends, 0 if there was none.
  SessionId lost(const PeerName& peer);

  /// The peer's session now; 0: none.
  SessionId of(const PeerName& peer) const;

  struct Place {
    PeerName peer;
    std::uint64_t number = 0;
  };
  /// Where to send what is for this session; nothing if it has ended.
  std::optional<Place> place(SessionId session) const;
  /// Ends it: what still arrives on it belongs to no session. The peer is to be told by the caller.
  void close(SessionId session);

  std::size_t open() const { return by_session_.size(); }

 private:
  struct Connection {
    std::uint64_t number = 0;
    SessionId session = 0;  // 0: it has ended
    bool told = false;      // the peer knows that it has ended
  };
  SessionId last_ = 0;
  std::map<PeerName, Connection> by_peer_;
  std::map<SessionId, PeerName> by_session_;
};

}  // namespace train::wide

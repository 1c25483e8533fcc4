#include "collectives/wide/service/sessions.hpp"

#include <utility>

namespace train::wide {

Sessions::Arrival Sessions::arrived(const PeerName& peer, std::uint64_t number) {
  const auto [entry, fresh] = by_peer_.try_emplace(peer);
  Connection& connection = entry->second;
  Arrival arrival;
  if (!fresh && connection.number == number) {
    arrival.session = connection.session;
    if (arrival.session == 0) arrival.say_closed = !std::exchange(connection.told, true);
    return arrival;
  }
  arrival.ended = lost(peer);
  arrival.session = ++last_;
  connection = {number, arrival.session, false};
  by_session_.emplace(arrival.session, peer);
  return arrival;
}

SessionId Sessions::lost(const PeerName& peer) {
  const auto entry = by_peer_.find(peer);
  if (entry == by_peer_.end()) return 0;
  const SessionId ended = std::exchange(entry->second.session, 0);
  by_session_.erase(ended);
  return ended;
}

SessionId Sessions::of(const PeerName& peer) const {
  const auto entry = by_peer_.find(peer);
  return entry == by_peer_.end() ? 0 : entry->second.session;
}

std::optional<Sessions::Place> Sessions::place(SessionId session) const {
  const auto peer = by_session_.find(session);
  if (peer == by_session_.end()) return std::nullopt;
  return Place{peer->second, by_peer_.at(peer->second).number};
}

void Sessions::close(SessionId session) {
  const auto peer = by_session_.find(session);
  if (peer == by_session_.end()) return;
  Connection& connection = by_peer_.at(peer->second);
  connection.session = 0;
  connection.told = true;
  by_session_.erase(peer);
}

}  // namespace train::wide

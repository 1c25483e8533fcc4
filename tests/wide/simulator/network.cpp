#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/wide/protocol/wire.hpp"
#include "tests/wide/simulator/world.hpp"

namespace train::wide::sim {

void World::dial(const std::string& name) {
  Cluster& cluster = clusters_.at(name);
  after(random_.between(30, 400), cluster, [this, &cluster, name] {
    if (cluster.session != 0) return;
    if (!coordinator_ || cluster.way != Way::normal) return dial(name);
    cluster.session = ++sessions_;
    cluster.session_ms = now_ms_;
    connections_[cluster.session].cluster = name;
    say(name, fmt::format("connects, session {}", cluster.session));
    carry_out(cluster, cluster.member->connected(now_ms_));
  });
}

/// Sends a message, or the end of the connection.
void World::transmit(SessionId session, bool to_coordinator, std::optional<Message> message) {
  const auto found = connections_.find(session);
  if (found == connections_.end() || !found->second.open) return;
  Connection& connection = found->second;
  TimeMs& last = to_coordinator ? connection.to_coordinator_ms : connection.to_member_ms;
  const Cluster& cluster = clusters_.at(connection.cluster);
  TimeMs arrival = now_ms_ + random_.between(delay_ms_, delay_ms_ + jitter_ms_);
  if (cluster.way == Way::stalled)
    arrival = std::max(arrival, cluster.way_until_ms + random_.between(1, 1'500));
  last = std::max(last, arrival);
  Bytes frame;
  if (message) frame = encode(*message);
  after(last - now_ms_, [this, session, to_coordinator, frame = std::move(frame)] {
    arrive(session, to_coordinator, frame);
  });
}

void World::arrive(SessionId session, bool to_coordinator, const Bytes& frame) {
  const auto found = connections_.find(session);
  if (found == connections_.end() || !found->second.open || found->second.silent) return;
  const std::string name = found->second.cluster;
  if (frame.empty()) return break_connection(session, to_coordinator, !to_coordinator);
  Decoded decoded = decode(frame);
  require(decoded.message.has_value(), "a frame does not decode: " + decoded.error);
  require(encode(*decoded.message) == frame, "a message changes when written again");
  if (verbose_) {
    say(to_coordinator ? "coordinator" : name,
        fmt::format("<- {} {}", name_of(*decoded.message), to_coordinator ? name : ""));
  }
  if (to_coordinator) {
    if (!coordinator_) return;
    if (held_) held_mail_.insert(session);
    at_coordinator([this, session, message = *decoded.message] {
      carry_out(coordinator_->receive(session, message, now_ms_));
    });
    return;
  }
  Cluster& cluster = clusters_.at(name);
  if (!cluster.up || cluster.session != session) return;
  if (const auto* directory = std::get_if<Directory>(&*decoded.message)) {
    cluster.seen_epoch = std::max(cluster.seen_epoch, directory->next.epoch);
  }
  carry_out(cluster, cluster.member->receive(*decoded.message, now_ms_));
}

void World::break_connection(SessionId session, bool tell_coordinator, bool tell_member) {
  const auto found = connections_.find(session);
  if (found == connections_.end() || !found->second.open) return;
  found->second.open = false;
  const std::string name = found->second.cluster;
  connections_.erase(found);
  if (tell_coordinator) {
    after(random_.between(0, 300), [this, session, life = coordinator_life_] {
      if (!coordinator_ || life != coordinator_life_) return;
      at_coordinator([this, session] { carry_out(coordinator_->disconnected(session, now_ms_)); });
    });
  }
  Cluster& cluster = clusters_.at(name);
  if (tell_member && cluster.up && cluster.session == session) {
    after(random_.between(0, 300), cluster, [this, &cluster, name, session] {
      if (cluster.session != session) return;
      say(name, "loses its connection");
      cluster.session = 0;
      carry_out(cluster, cluster.member->disconnected());
      dial(name);
    });
  }
}

/// Between a cluster and the coordinator.
void World::partition(const std::string& name, Way way, TimeMs duration_ms) {
  Cluster& cluster = clusters_.at(name);
  if (cluster.way != Way::normal) return;
  constexpr const char* words[] = {"", "stalls", "falls silent", "is cut"};
  say(name, fmt::format("way to the coordinator {} for {} ms", words[static_cast<int>(way)],
                        duration_ms));
  cluster.way = way;
  cluster.way_until_ms = now_ms_ + duration_ms;
  if (cluster.session != 0) {
    if (way == Way::cut) break_connection(cluster.session, true, true);
    if (way == Way::silent) {
      const auto connection = connections_.find(cluster.session);
      if (connection != connections_.end()) connection->second.silent = true;
    }
  }
  after(duration_ms, [&cluster, until = cluster.way_until_ms] {
    if (cluster.way_until_ms == until) cluster.way = Way::normal;
  });
}

bool World::link_up(const std::string& a, const std::string& b) const {
  return clusters_.at(a).up && clusters_.at(b).up && !links_down_.contains(std::minmax(a, b));
}

void World::set_link(const std::string& a, const std::string& b, bool up) {
  const LinkKey key = std::minmax(a, b);
  if (up ? links_down_.erase(key) == 0 : !links_down_.insert(key).second) return;
  say(a + "-" + b, up ? "link is back" : "link is cut");
  links_up_ms_[key] = now_ms_;
  if (!up) {
    fail_exchanges(a, b);
    fail_exchanges(b, a);
  }
  tell_links(a);
  tell_links(b);
}

/// Each side learns of its links in its own time.
void World::tell_links(const std::string& name) {
  Cluster& cluster = clusters_.at(name);
  if (!cluster.up) return;
  after(random_.between(1, 500), cluster, [this, &cluster, name] {
    std::vector<LinkInfo> up;
    for (const auto& [other, peer] : clusters_) {
      if (other != name && link_up(name, other)) {
        up.push_back({other, static_cast<std::uint32_t>(mix(name.back(), other.back()) % 200'000)});
      }
    }
    carry_out(cluster, cluster.member->links_changed(std::move(up)));
  });
}

}  // namespace train::wide::sim

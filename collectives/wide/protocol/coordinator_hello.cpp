// Who may come in.
#include <fmt/format.h>

#include "collectives/wide/protocol/coordinator.hpp"
#include "collectives/wide/protocol/wire.hpp"

namespace train::wide {

namespace {
constexpr std::size_t name_bytes_max = 64;
// Everyone is sent everyone's offer, in one frame.
constexpr std::size_t offer_bytes_max = 16 << 10;
constexpr std::size_t offers_bytes_max = frame_bytes_max / 2;
/// For how long the older of two processes of one name is known for that. Longer than its link
/// takes to come back; and after that, a cluster whose clock is behind gets in.
constexpr TimeMs namesake_ms = 30'000;
constexpr const char* replaced_text =
    "another process of this name started later and is in the job: a cluster is one mpirun of one "
    "name; end one of the two, or give it another --cluster. If there is only this one, its "
    "machine's clock is behind: set it, or start it again in a minute";
}  // namespace

void Coordinator::hello(SessionId session, const Hello& hello) {
  const auto refuse = [&](std::string reason) {
    warn(fmt::format("cluster {} is refused: {}", hello.self.name, reason));
    out_.push_back(SendTo{session, Refused{std::move(reason)}});
    out_.push_back(Close{session});
  };
  if (hello.self.name.empty() || hello.self.name.size() > name_bytes_max) {
    return refuse(fmt::format("a cluster's name has 1 to {} bytes", name_bytes_max));
  }
  if (state_.committed && !same_job(hello.job, hello.rounds_total)) {
    if (!finished()) return refuse(another_job_text);
    return refuse(
        fmt::format("the job of this journal is over, and is not its own (begin an empty --journal "
                    "for one that goes on): {}",
                    another_job_text));
  }
  const bool newer = state_.committed && hello.committed.id > state_.committed->id;
  if (newer && !state_.gave_up(hello.committed.id)) {
    return refuse(
        fmt::format("it has the state of {}, the journal ends with {}: restore the "
                    "journal, or begin an empty one to go on from that state; where the job has "
                    "gone back, start this cluster with an empty --checkpoint",
                    to_string(hello.committed.id), to_string(state_.committed->id)));
  }
  if (replaced(hello.self)) return refuse(replaced_text);
  if (std::string reason = too_large(hello); !reason.empty()) return refuse(std::move(reason));
  if (std::string reason = unreachable(hello); !reason.empty()) return refuse(std::move(reason));
  gone_.erase(hello.self.name);
  const auto known = peers_.find(hello.self.name);
  if (known != peers_.end()) {
    Peer& old = known->second;
    if (old.session != 0 && old.self != hello.self) send(old, Refused{replaced_text});
    if (old.session != 0) close(old);
    if (old.self != hello.self) peers_.erase(known);
  }
  Peer& peer = peers_[hello.self.name];
  const bool is_new = peer.self != hello.self;
  peer.self = hello.self;
  peer.offer = hello.offer;
  peer.job = hello.job;
  peer.rounds_total = hello.rounds_total;
  peer.session = session;
  peer.lost = false;
  peer.heartbeat = HeartbeatDeadline(config_.heartbeat, now_ms_);
  peer.holds = hello.committed;
  peer.pending = hello.pending;
  peer.links.clear();
  peer.ready.reset();
  peer.done.reset();
  peer.failed.reset();
  peer.fetch.reset();
  peer.released = peer.told_finished = false;
  peer.late_by_ms.reset();
  peer.late_alone_by_ms.reset();
  log(fmt::format("cluster {} {} with the state of {}", peer.self.name,
                  is_new ? "connects" : "is back", to_string(hello.committed.id)));
  if (newer) {
    warn(
        fmt::format("cluster {} has a state that the job has gone back from: it fetches the one "
                    "that the job went on with",
                    peer.self.name));
  }
  greet(peer);
}

/// Whether a process of this name that started later is in the job, or was until just now: of two
/// that live, each takes the other's link, so the later one need not be connected at the moment.
bool Coordinator::replaced(const Identity& self) const {
  const auto peer = peers_.find(self.name);
  if (peer != peers_.end() && !peer->second.lost) {
    return peer->second.self.incarnation > self.incarnation;
  }
  const auto gone = gone_.find(self.name);
  return gone != gone_.end() && gone->second.incarnation > self.incarnation &&
         now_ms_ < gone->second.at_ms + namesake_ms;
}

/// Why what it offers cannot be passed on to all; empty if it can.
std::string Coordinator::too_large(const Hello& hello) const {
  const auto bytes_of = [](const Identity& self, const Offer& offer) {
    Writer writer;
    writer(self, offer);
    return writer.bytes.size();
  };
  const std::size_t own = bytes_of(hello.self, hello.offer);
  if (own > offer_bytes_max) {
    return fmt::format("its addresses take {} bytes, {} at most are passed on to others", own,
                       offer_bytes_max);
  }
  std::size_t all = own;
  for (const auto& [name, peer] : peers_) {
    if (name != hello.self.name) all += bytes_of(peer.self, peer.offer);
  }
  if (all <= offers_bytes_max || peers_.contains(hello.self.name)) return "";
  return fmt::format("the job is full: the addresses of its clusters take {} bytes", all);
}

/// Why it can never have a link to another cluster that is there; empty if there is no such.
std::string Coordinator::unreachable(const Hello& hello) const {
  const EpochMember* member = state_.member(hello.self.name);
  if (!hello.offer.addresses.empty() || (member != nullptr && member->self == hello.self))
    return "";
  for (const auto& [name, peer] : peers_) {
    if (name == hello.self.name || peer.session == 0 || !peer.offer.addresses.empty()) continue;
    return fmt::format(
        "neither it nor cluster {} can be dialled: of two clusters, one may be --outbound-only. A "
        "port that is forwarded to it will do (--advertise)",
        name);
  }
  return "";
}

/// Everything that the peer may have missed, or that a restart has made it ask again.
void Coordinator::greet(Peer& peer) {
  if (state_.committed && peer.pending == state_.committed->id) {
    if (!holds_committed(peer)) peer.holds.reset();
    send(peer, Commit{state_.committed_info(), finished()});
  }
  broadcast_directory();
  if (in_epoch(peer)) {
    const bool behind = !holds_committed(peer) && peer.pending != state_.committed->id;
    if (behind) peer.dropped = "it lost the state";
    send(peer, Lease{state_.epoch, state_.ledger.leased(peer.self.name), false});
    if (exchanging()) send(peer, start_message());
    if (finishing_ && !exchanging()) send(peer, Finish{state_.epoch, state_.round()});
  }
}

}  // namespace train::wide

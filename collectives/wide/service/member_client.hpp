#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collectives/wide/protocol/member.hpp"
#include "collectives/wide/service/order_queue.hpp"
#include "collectives/wide/stream/node.hpp"

namespace train::wide {

struct MemberClientOptions {
  MemberConfig member;
  StateInfo state;                       // what it holds
  std::vector<std::string> coordinator;  // addresses to dial in turn
  std::function<void(const Log&)> on_log{};
  /// A cluster whose loop has not called for so long hangs, or for longer if it once took longer:
  /// up to four times its longest pause, and six times this.
  std::chrono::milliseconds hang_min{600'000};
};

/// A cluster's line to the coordinator: one per cluster, on the rank whose node carries lane 0.
/// Keeps the connection, beats, and turns what the coordinator says into orders. Thread-safe; the
/// one that carries out orders calls next().
///
/// The client beats on a thread of its own, which would beat for a cluster that hangs, too. So it
/// watches the loop that carries out orders by its calls of next(), roster() and take(): when these
/// stay away for too long, it gives the connection up, so that the job goes on without this
/// cluster, and connects again with the next call.
///
/// A call that was overtaken has no effect: while an order that voids training (Discard,
/// FetchState, Stop) waits unseen in next(), take() gives nothing and round_finished() reports
/// nothing, so that no sample of a new lease is trained with parameters that are to be discarded.
class MemberClient {
 public:
  /// Throws Error if there is no address.
  explicit MemberClient(MemberClientOptions options);
  ~MemberClient();
  MemberClient(const MemberClient&) = delete;
  MemberClient& operator=(const MemberClient&) = delete;

  // To be called by NodeOptions::events of the leader's node, for peers that this concerns. The
  // client must outlive the node, or at least its events.
  static bool concerns(const PeerName& peer);
  void on_up();
  void on_down(const std::string& reason);
  void on_message(std::vector<std::byte> message);

  /// Dials, and goes on dialling. Once. Throws Error for what cannot be an address.
  void start(Node& node);
  /// Waits, a second at most, until the coordinator has got all that was said; then closes the
  /// link. From then on the node is not used any more, and calls have no effect. Not from on_log.
  void stop();

  /// The next order; nothing if there is none until `deadline`.
  std::optional<MemberOrder> next(Deadline deadline);

  struct Roster {
    std::uint64_t version = 0;  // grows with each change; 0: not known yet
    std::uint64_t epoch = 0;
    std::vector<Directory::Peer> peers;
  };
  /// All clusters, as the coordinator last said.
  Roster roster();
  /// The links to other clusters that are up now, all of them.
  void links_changed(std::vector<LinkInfo> up);

  // As Member's.
  RangeSet take(std::uint64_t count);
  void bandwidth_measured(std::uint64_t kbit);
  void round_finished(std::uint64_t tokens, std::uint32_t inner_steps);
  void exchange_done(const ExchangeId& id, std::uint64_t hash);
  void exchange_failed(const ExchangeId& id, const std::string& peer);
  /// Once for each ApplyExchange.
  void applied(std::uint64_t hash);
  void fetched(const ExchangeId& id, std::uint64_t hash);
  void fetch_failed(const ExchangeId& id);
  void leave(std::uint64_t notice_ms);

  StateInfo committed() const;
  bool in_epoch() const;
  /// The coordinator answers.
  bool connected() const;
  /// Since when it does not; since start() if it never did.
  std::optional<Clock::time_point> disconnected_since() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace train::wide

#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "collectives/wide/protocol/archive.hpp"
#include "collectives/wide/protocol/messages.hpp"
#include "collectives/wide/stream/node.hpp"
#include "libtrain/rounds/outer_state.hpp"
#include "libtrain/rounds/wide_traffic.hpp"

namespace train {

struct LaneLinksOptions {
  std::string cluster;  ///< this cluster's name
  std::uint32_t lane = 0;
  /// The directory with this cluster's certificate (`launch/trainctl certs`); unset: plaintext,
  /// which works on loopback alone.
  std::optional<std::filesystem::path> certificates = std::nullopt;
  std::string listen;                ///< "host:port"; empty: this lane only dials out
  std::vector<std::string> towards;  ///< addresses in whose direction others are, for the default
  std::string advertise;             ///< where others reach it; empty: the host that it listens on
  std::optional<int> streams = {};   ///< of a link; unset: by measurement
  /// A fetch over a link without any stream for so long fails, and one of which nothing arrives.
  std::chrono::milliseconds link_down_max{8'000};
  std::chrono::milliseconds fetch_stall_max{30'000};
  /// Of the states that are fetched; must outlive them.
  std::pmr::memory_resource* memory = std::pmr::get_default_resource();
  std::function<void(const std::string&)> on_log = {};
};

/// What one rank has to do with other clusters: its node, and the links to the same lane of each.
/// Measures their round trips, and serves its outer state to newcomers.
class LaneLinks {
 public:
  /// What messages of peers other than lanes are for: the coordinator's.
  using ForeignEvents = wide::NodeEvents;

  /// Throws Error when it cannot listen. `foreign` gets the events of the cluster "coordinator".
  LaneLinks(LaneLinksOptions options, ForeignEvents foreign);
  ~LaneLinks();

  wide::Node& node() { return *node_; }
  /// Where other clusters reach this lane; empty when it only dials out.
  const std::string& address() const { return address_; }

  /// Other clusters of the job now. Of two, the one that can be dialled is; of two that can be, the
  /// one with the lesser name, and the other one too when that does not help for some seconds.
  void use(const std::vector<wide::Directory::Peer>& others);
  /// Dials, measures and forgets as time goes by. Cheap; call it often.
  void tick();
  /// Those whose links have a stream, with round trips; by name.
  std::vector<wide::LinkInfo> up() const;
  std::map<std::string, wide::Link> links() const;
  /// Not empty once a peer has said that a later process of this cluster has taken its place.
  std::string replaced() const;

  /// What newcomers get from now on.
  void serve(OuterStateVersion state);
  /// Which of them get it; unset, as at first: all.
  void serve_to(std::optional<std::vector<std::string>> clusters);

  enum class FetchStage : std::uint8_t { none, running, done, failed };
  /// Asks `source` for its lane's part of that state, whose fragments have so many values.
  void fetch(const std::string& source, const wide::ExchangeId& id,
             const std::vector<std::size_t>& sizes);
  FetchStage fetch_stage();
  /// What a fetch that is done has brought.
  OuterStateVersion take_fetched();
  void stop_fetch();

  WideTraffic traffic() const;

 private:
  struct Other {
    wide::Directory::Peer peer;
    std::optional<wide::Link> link;
    bool dialled = false;
    std::optional<Clock::time_point> down_since;
    bool up = false;
    std::uint32_t rtt_us = 0;
    Clock::time_point ping_at{};
  };
  struct Serving {
    std::string cluster;
    wide::Transfer transfer;
    OuterStateVersion state;
    std::size_t bytes = 0;
  };
  struct Fetching {
    wide::ExchangeId id;
    std::uint64_t first_transfer = 0;  // one for each fragment
    std::vector<LaneValues> fragments;
    std::optional<wide::Link> link;
    std::vector<wide::Transfer> transfers;
    Clock::time_point alive_at{}, moved_at{};  // its link had a stream, and bytes arrived
    std::size_t bytes = 0;
    bool failed = false;
  };

  void on_message(const wide::PeerName& peer, std::vector<std::byte> bytes);
  void on_up(const wide::PeerName& peer, bool up);
  void answer_fetch(const wide::PeerName& peer, const wide::ExchangeId& id, std::uint64_t transfer);
  bool serves(const std::string& cluster) const;
  void on_refused(const std::string& cluster, const std::string& why);
  void receive(Fetching& fetching, const std::vector<std::size_t>& sizes);
  void watch(Fetching& fetching) const;
  bool is_reachable(const wide::Directory::Peer& peer) const;
  void connect(Other& other, bool may_dial);
  void post(Other& other, const wide::Bytes& message);
  void forget_ended();

  LaneLinksOptions options_;
  ForeignEvents foreign_;
  std::string address_;
  mutable std::mutex mutex_;
  std::map<std::string, Other> others_;
  std::string replaced_;
  WideTraffic before_;
  OuterStateVersion served_;
  std::optional<std::vector<std::string>> served_to_;
  std::vector<Serving> serving_;
  std::string refusal_;  // the last one that was told
  std::optional<Fetching> fetching_;
  std::uint64_t next_transfer_;
  std::unique_ptr<wide::Node> node_;  // last: its events use what is above
};

}  // namespace train

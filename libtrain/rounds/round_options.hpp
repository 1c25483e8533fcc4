#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "collectives/wide/codec/codec.hpp"
#include "collectives/wide/protocol/heartbeat.hpp"
#include "libtrain/optimizer/schedule.hpp"
#include "libtrain/rounds/egress.hpp"
#include "libtrain/rounds/outer_optimizer.hpp"

namespace train {

/// How clusters keep in step.
enum class Synchronisation : std::uint8_t {
  every_step,  ///< gradients are averaged at each step: exact data parallelism
  rounds,      ///< parameters are, after a round of inner steps (DiLoCo)
};

/// "every-step", "rounds"; throws Error otherwise.
Synchronisation synchronisation_from(const std::string& text);

/// What all clusters of a job do alike, but for `round_time`.
struct RoundOptions {
  Synchronisation synchronisation = Synchronisation::rounds;
  std::int64_t inner_steps = 100;  ///< between exchanges of a parameter; every_step has one
  int fragments = 1;               ///< of the model, exchanged in turn, so many times as often
  int lanes = 1;                   ///< ranks of each cluster that exchange, each a part
  wide::Codec codec = wide::Codec::int8;
  OuterOptions outer = {};
  /// 0: training waits for the exchange. Else it goes on meanwhile, and takes the result over after
  /// so many steps of the next round, whenever it came.
  std::int64_t overlap_steps = 0;
  /// Ends this cluster's inner steps of a round after this time, if that comes first; 0: never.
  std::chrono::milliseconds round_time{0};

  /// Throws Error that names the first value that cannot be. every_step has one inner step.
  RoundOptions checked() const;
};

/// How this cluster meets the others of its job.
struct JobOptions {
  std::string cluster;                   ///< its name
  std::vector<std::string> coordinator;  ///< "host:port", tried in turn
  /// The directory with this cluster's certificate (`launch/trainctl certs`). Unset: no encryption,
  /// which works on loopback addresses only.
  std::optional<std::filesystem::path> certificates = std::nullopt;
  /// Where lane 0 listens for other clusters, "host:port"; lane l at port + l. Empty: at any port.
  std::string listen = {};
  /// Where others reach the lanes, by lane; empty: the hosts that they listen on.
  std::vector<std::string> advertise = {};
  bool outbound_only = false;                 ///< listens to nobody: others cannot reach it
  std::optional<int> streams = std::nullopt;  ///< of a link; unset: by measurement
  std::uint64_t bandwidth_kbit = 0;           ///< shares out the summing; 0: by measurement
  wide::HeartbeatConfig heartbeat = {};
  std::chrono::milliseconds leave_notice{30'000};       ///< from `leaves` to the end
  std::chrono::milliseconds patience{3'600'000};        ///< with a coordinator that is away
  std::chrono::milliseconds hang_min{600'000};          ///< between steps: see MemberClientOptions
  std::chrono::milliseconds transfer_max{1'800'000};    ///< for one piece of an exchange
  std::function<bool()> leaves = {};                    ///< true once this rank was told to end
  std::function<void(const std::string&)> on_log = {};  ///< one readable line
  EgressOptions egress = {};
  bool insists = false;        ///< on its own state: fails where the job begins with another
  std::string agreement = {};  ///< what else clusters must have in common: model, data, seed

  /// Throws Error that names the first value that cannot be.
  JobOptions checked() const;
};

/// The run that all clusters share.
struct RoundPlan {
  std::int64_t steps = 1;      ///< of the schedule
  std::int64_t last_step = 1;  ///< the job ends with the round of this one
  std::int64_t batch = 1;      ///< sequences of this cluster's inner step
  std::int64_t context = 1;    ///< tokens of a sequence
  Schedule schedule = {};

  /// Throws Error that names the first value that cannot be.
  RoundPlan checked() const;
};

}  // namespace train

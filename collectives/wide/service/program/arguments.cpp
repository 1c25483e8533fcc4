#include "collectives/wide/service/program/arguments.hpp"

#include <cmath>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/flags/parse_flags.hpp"

namespace train::wide {
namespace {

constexpr const char* about =
    "Where the clusters of a job meet: agrees with them on who takes part, which exchange is\n"
    "applied and who trains which samples, and keeps that in a journal. Carries no parameters.\n"
    "If it ends, by whatever cause, start it again with the same --journal: clusters go on with\n"
    "their round meanwhile. Ends by itself when the job is over.";

constexpr const char* footer =
    "Example, with certificates that launch/trainctl certs runs/certs --job demo --cluster aws\n"
    "--cluster lambda made:\n"
    "  train_coordinator --listen 0.0.0.0:7600 --journal runs/job --certs runs/certs "
    "--clusters-min 2";

/// Times are given in seconds or milliseconds, as doubles and integers; the protocol has integers.
class Flags {
 public:
  explicit Flags(CLI::App& app) : app_(app) {}

  void seconds(const std::string& flag, TimeMs& target_ms, const std::string& help) {
    app_.add_option_function<double>(
            flag,
            [flag, &target_ms](double s) {
              if (!std::isfinite(s)) throw CLI::ValidationError(flag, "is no number of seconds");
              target_ms = std::llround(s * 1000);
            },
            fmt::format("{} [{:g}]", help, static_cast<double>(target_ms) / 1000))
        ->check(CLI::Range(0.0, 1e9))
        ->type_name("S");
  }
  void milliseconds(const std::string& flag, TimeMs& target_ms, const std::string& help) {
    app_.add_option(flag, target_ms, fmt::format("{} [{}]", help, target_ms))
        ->check(CLI::Range(TimeMs{1}, TimeMs{1'000'000'000}))
        ->type_name("MS");
  }

 private:
  CLI::App& app_;
};

void add_job_flags(CLI::App& app, CoordinatorServerOptions& options) {
  CoordinatorConfig& config = options.coordinator;
  app.add_option("--listen", options.listen, "Addresses to listen at: 0.0.0.0:7600, [::]:7600")
      ->required();
  app.add_option("--journal", options.journal, "Directory of the job's journal; made if missing")
      ->required();
  app.add_option("--clusters-min", config.clusters_min,
                 "Clusters to begin with, or to go back to an older state with")
      ->check(CLI::Range(1u, 4096u))
      ->capture_default_str();
  app.add_option("--samples", config.samples_total,
                 "Samples of the whole job, which ends when they are trained; 0: it ends by the "
                 "rounds that its clusters ask for, or never")
      ->capture_default_str();
  app.add_option("--events", options.events, "Append what happens to this file, as JSON lines");
}

void add_time_flags(Flags& flags, CoordinatorServerOptions& options, TimeMs& linger_ms) {
  CoordinatorConfig& config = options.coordinator;
  flags.seconds("--round-seconds", config.round_ms,
                "End inner steps after this time; 0: by their count alone");
  linger_ms = options.linger.count();
  flags.seconds("--linger", linger_ms,
                "After the end of the job, wait for clusters that come late");
  flags.seconds("--gather-seconds", config.gather_ms,
                "At the start, wait for links between the clusters");
  flags.seconds("--straggler-seconds", config.straggler_ms,
                "Leave out who does not end its round so long after it was told to");
  flags.seconds("--laggard-seconds", config.laggard_ms,
                "Tell a cluster to end its round, or leave it out of an exchange, when others have "
                "waited so long for it, and three times as long as they took themselves");
  flags.seconds("--exchange-seconds", config.exchange_ms,
                "Try an exchange again that no cluster has finished in this time");
  flags.seconds("--link-grace-seconds", config.link_grace_ms,
                "Wait for a broken link before someone is left out");
  flags.seconds("--join-hold-seconds", config.join_hold_ms,
                "Hold an exchange for a newcomer that came too late before");
  flags.seconds("--restart-grace-seconds", config.restart_grace_ms,
                "After a restart, wait for members to come back");
  flags.seconds("--rollback-grace-seconds", config.rollback_grace_ms,
                "Wait for a cluster with the last state before the job goes back to an older one");
}

void add_heartbeat_flags(Flags& flags, CoordinatorConfig& config) {
  flags.milliseconds("--heartbeat-ms", config.heartbeat.interval_ms,
                     "The rhythm in which clusters are expected to beat");
  flags.milliseconds("--silence-min-ms", config.heartbeat.floor_ms,
                     "Never take a cluster for lost sooner");
  flags.milliseconds("--silence-max-ms", config.heartbeat.ceiling_ms, "Nor wait longer");
}

/// DIR is the coordinator's own directory, or the one that `trainctl certs` made, which holds it.
TlsFiles files_in(const std::filesystem::path& directory) {
  std::error_code ignored;
  const auto own = directory / "coordinator";
  return TlsFiles::in(std::filesystem::exists(own / "certificate.pem", ignored) ? own : directory);
}

void require_sound(const CoordinatorServerOptions& options, const std::string& certificates) {
  if (certificates.empty() && !options.node.plaintext) {
    throw Error(
        "between machines everything is encrypted: give --certs DIR, which \"launch/trainctl certs "
        "DIR --job NAME --cluster A --cluster B\" makes; or --plaintext, on this machine alone");
  }
  if (!certificates.empty() && options.node.plaintext) {
    throw Error("--certs and --plaintext exclude each other");
  }
  const HeartbeatConfig& heartbeat = options.coordinator.heartbeat;
  if (heartbeat.floor_ms <= heartbeat.interval_ms || heartbeat.ceiling_ms < heartbeat.floor_ms) {
    throw Error(
        fmt::format("--heartbeat-ms {} < --silence-min-ms {} <= --silence-max-ms {} must "
                    "hold",
                    heartbeat.interval_ms, heartbeat.floor_ms, heartbeat.ceiling_ms));
  }
}

}  // namespace

CoordinatorArguments parse_coordinator_arguments(int argc, char** argv) {
  CoordinatorArguments result;
  CoordinatorServerOptions& options = result.options;
  CLI::App app(about, "train_coordinator");
  app.footer(footer);
  std::string certificates;
  TimeMs linger_ms = 0;
  Flags flags(app);
  add_job_flags(app, options);
  app.add_option("--certs", certificates,
                 "The directory that trainctl certs made, or coordinator/ in it");
  app.add_flag("--plaintext", options.node.plaintext,
               "No encryption and no proof of who is who; on loopback addresses alone");
  add_time_flags(flags, options, linger_ms);
  add_heartbeat_flags(flags, options.coordinator);
  result.status = parse_flags(app, argc, argv);
  if (result.status) return result;
  require_sound(options, certificates);
  if (!certificates.empty()) options.node.tls = files_in(certificates);
  options.linger = std::chrono::milliseconds(linger_ms);
  return result;
}

}  // namespace train::wide

#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "collectives/work.hpp"
#include "libtrain/rounds/wide_traffic.hpp"

namespace train {

/// What this cluster's provider asks for what it sends to others, and the most that it may cost.
struct EgressOptions {
  /// Dollars per GB of 10⁹ bytes that is sent to a cluster which is not named below. Bytes are
  /// counted without the headers of TCP and IP; providers that bill GiB bill less than this by 7%,
  /// those headers are 3%.
  double usd_per_gb = 0.0;
  std::map<std::string, double> usd_per_gb_to = {};
  /// The cluster leaves the job before it has spent more; unset: it never does for that.
  std::optional<double> budget_usd = std::nullopt;
  /// Keeps what was spent, also by earlier processes of this cluster. Empty: nothing is kept.
  std::filesystem::path ledger = {};

  /// From "0.09", for all clusters, or "gcp=0.02". Throws Error for what is not a price.
  void add_price(const std::string& text);
  double usd_per_gb_of(const std::string& cluster) const;
  /// What so many bytes to that cluster cost.
  double usd_of(double bytes, const std::string& cluster) const;
  bool has_price() const { return usd_per_gb > 0.0 || !usd_per_gb_to.empty(); }
  /// Throws Error that names the first value that cannot be.
  void validate() const;
};

/// Bytes on the wire per byte of values: frames and TLS records beside them.
inline constexpr double wire_overhead = 1.02;

/// "$12.30", and "$0.0042" for what is little.
std::string usd_text(double usd);

/// What this cluster has sent to each of the others, and spent on it. Metered at the price of the
/// day: a new price is not for what was sent before.
class EgressMeter {
 public:
  /// Goes on from the ledger, if there is one; throws Error when it is damaged, cannot be written,
  /// or says that the budget is spent. `on_log` gets one readable line when it cannot be written
  /// later.
  EgressMeter(EgressOptions options, std::function<void(const std::string&)> on_log);
  ~EgressMeter();
  EgressMeter(const EgressMeter&) = delete;
  EgressMeter& operator=(const EgressMeter&) = delete;

  /// What this process has sent since it began. The ledger follows within a second: a process that
  /// is killed has that much for nothing.
  void update(const WideTraffic& traffic);
  double spent_usd() const;
  /// Of the budget, without what states that are being fetched will cost; nothing without a budget.
  std::optional<double> left_usd() const;
  /// Whether that cluster is fetching a state from this one.
  bool has_promised(const std::string& cluster) const { return promised_.contains(cluster); }
  const EgressOptions& options() const { return options_; }
  /// "620 MB to gcp ($0.06), 1.2 GB to lambda ($0.11): $0.17 of $5.00".
  std::string summary() const;

 private:
  struct Account {
    std::uint64_t bytes_sent = 0;
    double usd = 0.0;
  };
  void read();
  void write() const;
  void save();

  EgressOptions options_;
  std::function<void(const std::string&)> on_log_;
  std::map<std::string, Account> accounts_;
  std::map<std::string, std::uint64_t> counted_;   // of this process, by cluster
  std::map<std::string, std::uint64_t> promised_;  // those above 0
  Clock::time_point save_at_{};
  bool changed_ = false, warned_ = false;
};

}  // namespace train

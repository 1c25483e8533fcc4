#include "libtrain/rounds/egress.hpp"

#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/file.hpp"

namespace train {
namespace {

constexpr double gb = 1e9;
constexpr const char* format_name = "libtrain egress";
constexpr std::chrono::seconds save_gap{1};

bool is_price(double usd) {
  return std::isfinite(usd) && usd >= 0.0;
}

// `flag` is what was given; the price is its end.
double price_from(std::string_view text, const std::string& flag) {
  double usd = 0.0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, usd);
  if (code != std::errc() || stop != end || !is_price(usd)) {
    throw Error(
        fmt::format("--egress-price {}: a price is dollars per GB, such as 0.09, or with "
                    "the cluster that it is for, gcp=0.02",
                    flag));
  }
  return usd;
}

std::string bytes_text(std::uint64_t bytes) {
  const auto count = static_cast<double>(bytes);
  return count < gb ? fmt::format("{:.3g} MB", count / 1e6) : fmt::format("{:.4g} GB", count / gb);
}

[[noreturn]] void refuse_ledger(const std::filesystem::path& path, const std::string& why) {
  throw Error(
      fmt::format("{} is not a ledger of egress: {}. Mend it, or remove it and lower "
                  "--egress-budget by what was spent",
                  path.string(), why));
}

}  // namespace

std::string usd_text(double usd) {
  const bool little = usd > 0.0 && usd < 0.1;
  return little ? fmt::format("${:.2g}", usd) : fmt::format("${:.2f}", usd);
}

void EgressOptions::add_price(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    usd_per_gb = price_from(text, text);
  } else if (equals == 0) {
    throw Error(fmt::format("--egress-price {}: names no cluster", text));
  } else {
    usd_per_gb_to[text.substr(0, equals)] =
        price_from(std::string_view(text).substr(equals + 1), text);
  }
}

double EgressOptions::usd_per_gb_of(const std::string& cluster) const {
  const auto named = usd_per_gb_to.find(cluster);
  return named != usd_per_gb_to.end() ? named->second : usd_per_gb;
}

double EgressOptions::usd_of(double bytes, const std::string& cluster) const {
  return bytes / gb * usd_per_gb_of(cluster);
}

void EgressOptions::validate() const {
  const auto require = [](bool holds, double usd) {
    if (!holds) throw Error(fmt::format("--egress-price is {}; it must not be negative", usd));
  };
  require(is_price(usd_per_gb), usd_per_gb);
  for (const auto& [cluster, usd] : usd_per_gb_to) require(is_price(usd), usd);
  if (!budget_usd) return;
  if (!is_price(*budget_usd) || *budget_usd == 0.0) {
    throw Error(fmt::format("--egress-budget is {}; it must be above 0 dollars", *budget_usd));
  }
  if (!has_price()) {
    throw Error("--egress-budget needs an --egress-price above 0: what a GB costs");
  }
}

EgressMeter::EgressMeter(EgressOptions options, std::function<void(const std::string&)> on_log)
    : options_(std::move(options)), on_log_(std::move(on_log)) {
  options_.validate();
  if (options_.ledger.empty() || !options_.has_price()) return;
  read();
  write();
  if (const auto left = left_usd(); left && *left <= 0.0) {
    throw Error(
        fmt::format("the egress budget is spent: {}. Give more (--egress-budget)", summary()));
  }
}

EgressMeter::~EgressMeter() {
  if (changed_) save();
}

void EgressMeter::update(const WideTraffic& traffic) {
  promised_.clear();
  for (const auto& [cluster, bytes] : traffic.with) {
    if (bytes.promised > 0) promised_[cluster] = bytes.promised;
    std::uint64_t& counted = counted_[cluster];
    if (bytes.sent <= counted) continue;
    const std::uint64_t more = bytes.sent - std::exchange(counted, bytes.sent);
    Account& account = accounts_[cluster];
    account.bytes_sent += more;
    account.usd += options_.usd_of(static_cast<double>(more), cluster);
    changed_ = true;
  }
  if (changed_ && Clock::now() >= save_at_) save();
}

double EgressMeter::spent_usd() const {
  double sum = 0.0;
  for (const auto& [cluster, account] : accounts_) sum += account.usd;
  return sum;
}

std::optional<double> EgressMeter::left_usd() const {
  if (!options_.budget_usd) return std::nullopt;
  double promised = 0.0;
  for (const auto& [cluster, bytes] : promised_) {
    promised += options_.usd_of(static_cast<double>(bytes) * wire_overhead, cluster);
  }
  return *options_.budget_usd - spent_usd() - promised;
}

std::string EgressMeter::summary() const {
  std::vector<std::string> parts;
  for (const auto& [cluster, account] : accounts_) {
    parts.push_back(fmt::format("{} to {} ({})", bytes_text(account.bytes_sent), cluster,
                                usd_text(account.usd)));
  }
  if (parts.empty()) parts.emplace_back("nothing sent");
  const std::string budget = options_.budget_usd ? " of " + usd_text(*options_.budget_usd) : "";
  return fmt::format("{}: {}{}", fmt::join(parts, ", "), usd_text(spent_usd()), budget);
}

void EgressMeter::read() {
  const std::filesystem::path& path = options_.ledger;
  std::ifstream file(path);
  if (!file) {
    std::error_code none;
    if (std::filesystem::exists(path, none)) refuse_ledger(path, "it cannot be read");
    return;
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.at("format") != format_name || json.at("version") != 1) {
      refuse_ledger(path, fmt::format("its format is not \"{}\", version 1", format_name));
    }
    for (const auto& [cluster, entry] : json.at("clusters").items()) {
      const Account account{entry.at("bytes_sent").get<std::uint64_t>(),
                            entry.at("usd").get<double>()};
      if (!is_price(account.usd)) refuse_ledger(path, "what was spent on " + cluster);
      accounts_[cluster] = account;
    }
  } catch (const nlohmann::json::exception& error) {
    refuse_ledger(path, error.what());
  }
}

void EgressMeter::write() const {
  auto clusters = nlohmann::json::object();
  for (const auto& [cluster, account] : accounts_) {
    clusters[cluster] = {{"bytes_sent", account.bytes_sent}, {"usd", account.usd}};
  }
  const nlohmann::json json = {
      {"format", format_name}, {"version", 1}, {"clusters", std::move(clusters)}};
  AtomicFile file(options_.ledger);
  file.file().write(json.dump(2) + "\n");
  file.commit();
}

// Training goes on where the disk is full: this process knows what it has spent.
void EgressMeter::save() {
  changed_ = false;
  save_at_ = Clock::now() + save_gap;
  if (options_.ledger.empty() || !options_.has_price()) return;
  try {
    write();
    warned_ = false;
  } catch (const Error& error) {
    changed_ = true;
    if (!std::exchange(warned_, true) && on_log_) {
      on_log_(fmt::format("warning: what egress costs is not kept in {}: {}",
                          options_.ledger.string(), error.what()));
    }
  }
}

}  // namespace train

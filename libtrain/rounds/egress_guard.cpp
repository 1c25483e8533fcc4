#include "libtrain/rounds/egress_guard.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/wide/protocol/slices.hpp"

namespace train {
namespace {

// Frames and TLS records beside the values.
constexpr double overhead = 1.02;

}  // namespace

EgressGuard::EgressGuard(const EgressMeter& meter, std::string cluster,
                         std::vector<std::uint64_t> encoded_bytes)
    : meter_(meter), cluster_(std::move(cluster)), encoded_bytes_(std::move(encoded_bytes)) {}

void EgressGuard::use(const std::vector<wide::Directory::Peer>& clusters) {
  std::map<std::string, double> equal;
  for (const wide::Directory::Peer& peer : clusters) {
    if (peer.since != 0) equal[peer.self.name] = 0.0;
  }
  for (auto& [name, share] : equal) share = 1.0 / static_cast<double>(equal.size());
  const auto name_of = [](const auto& entry) -> const std::string& { return entry.first; };
  if (!std::ranges::equal(equal, shares_, {}, name_of, name_of)) shares_ = std::move(equal);
}

void EgressGuard::use(const wide::Start& start) {
  shares_.clear();
  for (std::size_t i = 0; i < start.participants.size(); ++i) {
    const bool last = i + 1 == start.participants.size();
    const std::uint32_t end = last ? wide::share_parts : start.participants[i + 1].slice_begin;
    shares_[start.participants[i].self.name] =
        static_cast<double>(end - start.participants[i].slice_begin) / wide::share_parts;
  }
}

double EgressGuard::exchange_usd(FragmentRange fragments) const {
  const auto own = shares_.find(cluster_);
  if (own == shares_.end()) return 0.0;
  double encoded = 0.0;
  for (int i = fragments.first; i < fragments.last; ++i) {
    encoded += static_cast<double>(encoded_bytes_.at(static_cast<std::size_t>(i)));
  }
  double usd = 0.0;
  for (const auto& [name, share] : shares_) {
    if (name == cluster_) continue;
    const double bytes = (share + own->second) * encoded * overhead;
    usd += bytes / 1e9 * meter_.options().usd_per_gb_of(name);
  }
  return usd;
}

bool EgressGuard::can_pay(double usd) const {
  const auto left = meter_.left_usd();
  return !left || usd <= *left;
}

std::string EgressGuard::why_not(double usd, int exchanges) const {
  const double left = std::max(meter_.left_usd().value_or(0.0), 0.0);
  return fmt::format(
      "cluster {} leaves the job: of its egress budget (--egress-budget) {} were left, and {} {}{}",
      cluster_, usd_text(left),
      exchanges > 1 ? "the next exchanges cost" : "the next exchange costs", usd_text(usd),
      exchanges > 1 ? "; the last one that it could pay for is made" : "");
}

}  // namespace train

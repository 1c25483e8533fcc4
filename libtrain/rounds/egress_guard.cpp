#include "libtrain/rounds/egress_guard.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/wide/protocol/slices.hpp"

namespace train {

EgressGuard::EgressGuard(const EgressMeter& meter, std::string cluster,
                         std::vector<std::uint64_t> encoded_bytes, std::uint64_t state_bytes)
    : meter_(meter),
      cluster_(std::move(cluster)),
      encoded_bytes_(std::move(encoded_bytes)),
      state_bytes_(state_bytes) {}

EgressGuard::Shares EgressGuard::equal_shares(const std::vector<std::string>& clusters) {
  Shares shares;
  for (const auto& name : clusters) shares[name] = 1.0 / static_cast<double>(clusters.size());
  return shares;
}

void EgressGuard::use(const std::vector<wide::Directory::Peer>& clusters) {
  std::vector<std::string> members;
  newcomers_.clear();
  for (const wide::Directory::Peer& peer : clusters) {
    if (peer.since != 0) members.push_back(peer.self.name);
    if (peer.since == 0 && peer.self.name != cluster_) newcomers_.push_back(peer.self.name);
  }
  std::ranges::sort(newcomers_);
  Shares equal = equal_shares(members);
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
  return exchange_usd(fragments, shares_);
}

double EgressGuard::exchange_usd(FragmentRange fragments, const Shares& shares) const {
  const auto own = shares.find(cluster_);
  if (own == shares.end()) return 0.0;
  double encoded = 0.0;
  for (int i = fragments.first; i < fragments.last; ++i) {
    encoded += static_cast<double>(encoded_bytes_.at(static_cast<std::size_t>(i)));
  }
  double usd = 0.0;
  for (const auto& [name, share] : shares) {
    if (name == cluster_) continue;
    usd += meter_.options().usd_of((share + own->second) * encoded * wire_overhead, name);
  }
  return usd;
}

bool EgressGuard::can_pay(double usd) const {
  const auto left = meter_.left_usd();
  return !left || usd <= *left;
}

std::optional<std::vector<std::string>> EgressGuard::state_goes_to(FragmentRange next) const {
  const auto left = meter_.left_usd();
  if (!left) return std::nullopt;
  std::vector<std::string> all = newcomers_, receivers;
  for (const auto& [name, share] : shares_) all.push_back(name);
  double for_states = *left - exchange_usd(next, equal_shares(all));
  for (const std::string& name : newcomers_) {
    // Not all lanes of a fetch need have begun.
    const double usd =
        meter_.options().usd_of(static_cast<double>(state_bytes_) * wire_overhead, name);
    if (!meter_.has_promised(name) && usd > for_states) continue;
    for_states -= usd;
    receivers.push_back(name);
  }
  return receivers;
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

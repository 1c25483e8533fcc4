#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "collectives/wide/protocol/messages.hpp"
#include "libtrain/rounds/egress.hpp"
#include "libtrain/rounds/fragments.hpp"

namespace train {

/// Whether this cluster can pay for its next exchange, and for the states that newcomers ask it
/// for. In an exchange a cluster sends every other one the values that it owns, and its own slice's
/// mean: of B encoded bytes, (own share + the other's share) B. The next one is taken to have the
/// last one's shares, or equal ones where other clusters take part. It costs more when it has to be
/// tried again.
class EgressGuard {
 public:
  /// `encoded_bytes`: of each fragment, over all lanes, as the codec sends it; `state_bytes`: of
  /// the whole outer state.
  EgressGuard(const EgressMeter& meter, std::string cluster,
              std::vector<std::uint64_t> encoded_bytes, std::uint64_t state_bytes);

  /// The job's clusters now, and an exchange that begins.
  void use(const std::vector<wide::Directory::Peer>& clusters);
  void use(const wide::Start& start);

  /// What an exchange of these fragments costs.
  double exchange_usd(FragmentRange fragments) const;
  /// Always, without a budget.
  bool can_pay(double usd) const;
  /// Who gets this cluster's state when he asks: those who are at it, and of the newcomers, by
  /// name, as many as leave money for an exchange of these fragments among all of them. Unset
  /// without a budget: everybody.
  std::optional<std::vector<std::string>> state_goes_to(FragmentRange next) const;
  /// One sentence, for when it cannot pay so much for so many exchanges.
  std::string why_not(double usd, int exchanges) const;

 private:
  using Shares = std::map<std::string, double>;  // of clusters that exchange; sum 1
  static Shares equal_shares(const std::vector<std::string>& clusters);
  double exchange_usd(FragmentRange fragments, const Shares& shares) const;

  const EgressMeter& meter_;
  std::string cluster_;
  std::vector<std::uint64_t> encoded_bytes_;
  std::uint64_t state_bytes_;
  Shares shares_;                       // of the epoch's clusters
  std::vector<std::string> newcomers_;  // by name
};

}  // namespace train

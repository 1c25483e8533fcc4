#pragma once

#include <map>
#include <string>
#include <vector>

#include "collectives/wide/protocol/messages.hpp"
#include "libtrain/rounds/egress.hpp"
#include "libtrain/rounds/fragments.hpp"

namespace train {

/// Whether this cluster can pay for its next exchange. In an exchange a cluster sends every other
/// one the values that it owns, and its own slice's mean: of B encoded bytes, (own share + the
/// other's share) B. The next one is taken to have the last one's shares, or equal ones where other
/// clusters take part. It costs more when it has to be tried again.
class EgressGuard {
 public:
  /// `encoded_bytes`: of each fragment, over all lanes, as the codec sends it.
  EgressGuard(const EgressMeter& meter, std::string cluster,
              std::vector<std::uint64_t> encoded_bytes);

  /// The job's clusters now, and an exchange that begins.
  void use(const std::vector<wide::Directory::Peer>& clusters);
  void use(const wide::Start& start);

  /// What an exchange of these fragments costs.
  double exchange_usd(FragmentRange fragments) const;
  /// Always, without a budget.
  bool can_pay(double usd) const;
  /// One sentence, for when it cannot pay so much for so many exchanges.
  std::string why_not(double usd, int exchanges) const;

 private:
  const EgressMeter& meter_;
  std::string cluster_;
  std::vector<std::uint64_t> encoded_bytes_;
  std::map<std::string, double> shares_;  // of the epoch's clusters; sum 1
};

}  // namespace train

#include "libtrain/rounds/bandwidth.hpp"

#include <algorithm>

namespace train {
namespace {

// Less than a few times what an exchange has under way is one wave there and one back, which take
// least when all clusters sum equally much; and a connection has hardly found its rate.
constexpr std::uint64_t bytes_min = 64 << 20;

}  // namespace

std::uint64_t kbit_of(const wide::LinkTraffic& before, const wide::LinkTraffic& after,
                      int streams) {
  const std::uint64_t bytes = after.acknowledged - before.acknowledged;
  const std::uint64_t busy_us = after.busy_us - before.busy_us;
  if (bytes < bytes_min || busy_us == 0 || streams <= 0) return 0;
  // Streams are busy side by side, so the link was for the mean of their times.
  const double link_s = 1e-6 * static_cast<double>(busy_us) / streams;
  return std::max<std::uint64_t>(
      static_cast<std::uint64_t>(8e-3 * static_cast<double>(bytes) / link_s), 1);
}

void Bandwidth::begin(const std::map<std::string, wide::Link>& links) {
  links_.clear();
  for (const auto& [name, link] : links) links_.push_back({link, link.traffic()});
}

void Bandwidth::end() {
  std::uint64_t sum = 0;
  bool all = !links_.empty();
  for (const Start& start : links_) {
    const std::uint64_t kbit = kbit_of(start.traffic, start.link.traffic(), start.link.streams());
    sum += kbit;
    all = all && kbit > 0;
  }
  links_.clear();
  // Half the old value: one exchange among others' traffic should not turn everything round.
  if (all) kbit_ = kbit_ == 0 ? sum : (kbit_ + sum) / 2;
}

}  // namespace train

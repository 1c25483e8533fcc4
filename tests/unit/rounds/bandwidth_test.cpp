// What a link can carry, from the kernel's counts.
#include "libtrain/rounds/bandwidth.hpp"

#include <doctest/doctest.h>

using train::kbit_of;
using train::wide::LinkTraffic;

namespace {

LinkTraffic counted(std::uint64_t acknowledged, std::uint64_t busy_us) {
  LinkTraffic traffic;
  traffic.acknowledged = acknowledged;
  traffic.busy_us = busy_us;
  return traffic;
}

}  // namespace

TEST_CASE("a link's rate is its bytes by the time in which it had some to send") {
  // 100 MB in 8 s are 100 Mbit/s, over one stream or over four that were busy side by side.
  CHECK(kbit_of(counted(7, 1'000), counted(100'000'007, 8'001'000), 1) == 100'000);
  CHECK(kbit_of(counted(7, 1'000), counted(100'000'007, 32'001'000), 4) == 100'000);
}

TEST_CASE("a link that had too little to send tells nothing") {
  CHECK(kbit_of(counted(0, 0), counted(60'000'000, 1'000), 1) == 0);
  CHECK(kbit_of(counted(0, 0), counted(100'000'000, 0), 1) == 0);
  CHECK(kbit_of(counted(0, 0), counted(100'000'000, 1'000), 0) == 0);
}

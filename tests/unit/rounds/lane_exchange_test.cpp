#include "libtrain/rounds/lane_exchange.hpp"

#include <array>
#include <memory>

#include <doctest/doctest.h>

#include "libtrain/ops/device.hpp"
#include "libtrain/tensor/booked_memory.hpp"

using namespace train;

TEST_CASE("only the fragments under way have values and means in memory") {
  const auto device = make_cpu_device(1);
  const MemoryAccount& account = device->memory(MemoryUse::lanes);
  BookedMemory memory(device->memory(MemoryUse::lanes));
  constexpr std::array<std::size_t, 2> counts{1000, 3000};
  LaneExchange exchange({.codec = wide::Codec::none, .memory = &memory}, counts);
  const std::size_t beside = account.statistics().bytes_in_use;
  const auto held = [&] { return account.statistics().bytes_in_use - beside; };
  CHECK(held() == 0);
  exchange.use({0, 1});
  CHECK(held() == 8 * 1000);
  exchange.use({1, 2});
  CHECK(held() == 8 * 3000);
  exchange.use({0, 2});
  CHECK(held() == 8 * 4000);
  exchange.use({0, 1});
  CHECK(held() == 8 * 1000);
  // Nothing more is asked of the system for what was there before.
  const std::size_t reserved = memory.bytes_reserved();
  for (const FragmentRange fragments : {FragmentRange{1, 2}, {0, 1}, {0, 2}}) {
    exchange.use(fragments);
    CHECK(memory.bytes_reserved() == reserved);
  }
}

// What every backend owes its callers, with any number of ranks. See also contract_*_test.cpp.
#include <bit>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/ranked/contract_data.hpp"
#include "tests/support/ranked.hpp"

namespace train {
namespace {

constexpr ReduceOp all_ops[] = {ReduceOp::sum, ReduceOp::min, ReduceOp::max};

template <typename T>
void check_all_reduce(Communicator& world, ReduceOp op, std::size_t count, bool in_place) {
  CAPTURE(count);
  CAPTURE(in_place);
  CAPTURE(std::string(name_of(op)) + " " + name_of(data_type_of<T>));
  auto send = small_values<T>(world.rank(), count);
  std::vector<T> other(count);
  auto& receive = in_place ? send : other;
  world.all_reduce(std::span(send), std::span(receive), op).wait();
  CHECK(first_difference(receive, [&](std::size_t i) { return reduced(op, world.size(), i); }) ==
        count);
}

template <typename T>
void check_reductions(Communicator& world) {
  for (const auto op : all_ops) {
    for (const std::size_t count : {0, 1, 3, 257, 5003}) {
      check_all_reduce<T>(world, op, count, false);
      check_all_reduce<T>(world, op, count, true);
    }
  }
}

std::vector<std::size_t> uneven_counts(int size, std::size_t unit) {
  std::vector<std::size_t> counts;
  for (int rank = 0; rank < size; ++rank) {
    counts.push_back(static_cast<std::size_t>((rank * 2 + 3) % 5) * unit);  // 3, 0, 2, 4, 1, …
  }
  return counts;
}

std::size_t total(std::span<const std::size_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
}

std::size_t first_of(std::span<const std::size_t> counts, int rank) {
  return total(counts.first(static_cast<std::size_t>(rank)));
}

std::vector<float> random_floats(int rank, std::size_t count) {
  std::mt19937 random(static_cast<unsigned>(rank) + 1);
  std::normal_distribution<float> normal(0.0f, 1000.0f);
  std::vector<float> values(count);
  for (auto& value : values) value = normal(random);
  return values;
}

}  // namespace

TEST_CASE("all_reduce: every type, operation, size, in place or not") {
  ranked([](Communicator& world) {
    check_reductions<float>(world);
    check_reductions<BFloat16>(world);
    check_reductions<double>(world);
    check_reductions<std::int32_t>(world);
    check_reductions<std::int64_t>(world);
    check_reductions<std::uint8_t>(world);
  });
}

TEST_CASE("all_reduce: larger than a chunk") {
  ranked([](Communicator& world) {
    check_all_reduce<std::uint8_t>(world, ReduceOp::max, 9'000'001, true);
    check_all_reduce<BFloat16>(world, ReduceOp::sum, 2'500'003, false);
  });
}

TEST_CASE("sums are made in rank order and all ranks hold the same bits") {
  ranked([](Communicator& world) {
    for (const std::size_t count : {100, 700'001}) {
      std::vector<float> expected = random_floats(0, count);
      for (int rank = 1; rank < world.size(); ++rank) {
        const auto other = random_floats(rank, count);
        for (std::size_t i = 0; i < count; ++i) expected[i] += other[i];
      }
      const auto send = random_floats(world.rank(), count);
      std::vector<float> sum(count);
      world.all_reduce(std::span(send), std::span(sum), ReduceOp::sum).wait();
      CHECK(sum == expected);
    }
  });
}

TEST_CASE("bf16 sums accumulate in f32 and round once") {
  ranked([](Communicator& world) {
    for (const std::size_t count : {5, 100'003}) {
      // 256 + 1 rounds back to 256 in bf16, however often; in f32 the ones add up.
      std::vector<BFloat16> values(count, BFloat16(world.rank() == 0 ? 256.0f : 1.0f));
      world.all_reduce(std::span(values), std::span(values), ReduceOp::sum).wait();
      const BFloat16 expected(256.0f + static_cast<float>(world.size() - 1));
      CHECK(first_difference(values, [&](std::size_t) { return number(expected); }) == count);
    }
  });
}

TEST_CASE("a NaN of any rank survives min and max") {
  ranked([](Communicator& world) {
    for (int bad = 0; bad < world.size(); ++bad) {
      const float nan = std::numeric_limits<float>::quiet_NaN();
      const float value = world.rank() == bad ? nan : 1.0f;
      std::vector<float> least{value, 2.0f}, most{value, 2.0f};
      world.all_reduce(std::span(least), std::span(least), ReduceOp::min).wait();
      world.all_reduce(std::span(most), std::span(most), ReduceOp::max).wait();
      CHECK(std::isnan(least[0]));
      CHECK(std::isnan(most[0]));
      CHECK(least[1] == 2.0f);
    }
  });
}

TEST_CASE("reduce_scatter: uneven blocks, in place or not") {
  ranked([](Communicator& world) {
    for (const std::size_t unit : {0, 1, 50, 90'001}) {
      const auto counts = uneven_counts(world.size(), unit);
      const auto own = counts[static_cast<std::size_t>(world.rank())];
      const auto first = first_of(counts, world.rank());
      const auto expected = [&](std::size_t i) {
        return reduced(ReduceOp::sum, world.size(), first + i);
      };
      auto send = small_values<float>(world.rank(), total(counts));
      std::vector<float> block(own);
      world.reduce_scatter(std::span(send), std::span(block), counts, ReduceOp::sum).wait();
      CHECK(first_difference(block, expected) == own);

      const auto in_place = std::span(send).subspan(first, own);
      world.reduce_scatter(std::span(send), in_place, counts, ReduceOp::sum).wait();
      block.assign(in_place.begin(), in_place.end());
      CHECK(first_difference(block, expected) == own);
    }
  });
}

TEST_CASE("all_gather: uneven blocks, in place or not") {
  ranked([](Communicator& world) {
    for (const std::size_t unit : {0, 1, 50, 90'001}) {
      const auto counts = uneven_counts(world.size(), unit);
      const auto own = counts[static_cast<std::size_t>(world.rank())];
      std::vector<std::int64_t> expected;
      for (int rank = 0; rank < world.size(); ++rank) {
        const auto block = small_values<std::int64_t>(rank, counts[static_cast<std::size_t>(rank)]);
        expected.insert(expected.end(), block.begin(), block.end());
      }
      const auto send = small_values<std::int64_t>(world.rank(), own);
      std::vector<std::int64_t> all(total(counts), -1);
      world.all_gather(std::span(send), std::span(all), counts).wait();
      CHECK(all == expected);

      std::vector<std::int64_t> again(total(counts), -1);
      const auto block = std::span(again).subspan(first_of(counts, world.rank()), own);
      std::copy(send.begin(), send.end(), block.begin());
      world.all_gather(block, std::span(again), counts).wait();
      CHECK(again == expected);
    }
  });
}

TEST_CASE("broadcast from every root") {
  ranked([](Communicator& world) {
    for (int root = 0; root < world.size(); ++root) {
      for (const std::size_t count : {0, 1, 1000, 1'200'007}) {
        std::vector<double> values(count, -1.0);
        if (world.rank() == root) values = small_values<double>(root, count);
        world.broadcast(std::span(values), root).wait();
        CHECK(values == small_values<double>(root, count));
      }
    }
  });
}

TEST_CASE("all_to_all: every pair has a count of its own") {
  ranked([](Communicator& world) {
    const auto count_of = [](int from, int to) {
      return static_cast<std::size_t>((from * 3 + to * 5) % 4) * 1001;
    };
    std::vector<std::size_t> send_counts, receive_counts;
    std::vector<std::int32_t> send, expected;
    for (int peer = 0; peer < world.size(); ++peer) {
      send_counts.push_back(count_of(world.rank(), peer));
      receive_counts.push_back(count_of(peer, world.rank()));
      const auto to = small_values<std::int32_t>(world.rank(), send_counts.back(), peer);
      const auto from = small_values<std::int32_t>(peer, receive_counts.back(), world.rank());
      send.insert(send.end(), to.begin(), to.end());
      expected.insert(expected.end(), from.begin(), from.end());
    }
    std::vector<std::int32_t> receive(expected.size(), -1);
    world.all_to_all(std::span(send), send_counts, std::span(receive), receive_counts).wait();
    CHECK(receive == expected);
  });
}

TEST_CASE("split makes groups by color, ordered by key") {
  ranked([](Communicator& world) {
    const int color = world.rank() % 2;
    const auto part = world.split(color, -world.rank(), "half");
    REQUIRE(part);
    CHECK(part->name() == "half");
    CHECK(part->size() == (world.size() + 1 - color) / 2);
    // Keys fall while ranks rise: the order is turned round.
    CHECK(part->rank() == part->size() - 1 - world.rank() / 2);
    std::vector<int> sum{world.rank()};
    part->all_reduce(std::span(sum), std::span(sum), ReduceOp::sum).wait();
    int expected = 0;
    for (int rank = color; rank < world.size(); rank += 2) expected += rank;
    CHECK(sum[0] == expected);
    const auto none = world.split(world.rank() == 0 ? 0 : -1, 0, "first");
    CHECK((none != nullptr) == (world.rank() == 0));
    const auto nested = part->split(0, part->rank(), "nested");
    nested->barrier().wait();
    world.barrier().wait();
  });
}

TEST_CASE("traffic counts calls, bytes and seconds") {
  ranked([](Communicator& world) {
    const auto size = static_cast<std::size_t>(world.size());
    std::vector<float> values(60'000 * size, 1.0f);
    const auto before = world.traffic();
    world.all_reduce(std::span(values), std::span(values), ReduceOp::sum).wait();
    const auto after = world.traffic();
    CHECK(after.all_reduce.calls == before.all_reduce.calls + 1);
    // 2 S (n-1)/n
    CHECK(after.all_reduce.bytes_sent - before.all_reduce.bytes_sent ==
          2 * values.size() * sizeof(float) * (size - 1) / size);
    CHECK(after.all_reduce.seconds > before.all_reduce.seconds);
    CHECK(after.total().calls == before.total().calls + 1);
  });
}

}  // namespace train

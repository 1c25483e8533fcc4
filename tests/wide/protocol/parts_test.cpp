#include <limits>
#include <random>
#include <set>

#include <doctest/doctest.h>

#include "collectives/wide/protocol/conflicts.hpp"
#include "collectives/wide/protocol/heartbeat.hpp"
#include "collectives/wide/protocol/ledger.hpp"
#include "collectives/wide/protocol/slices.hpp"

using namespace train::wide;

namespace {

std::set<std::uint64_t> positions(const RangeSet& set) {
  std::set<std::uint64_t> all;
  for (Range range : set.ranges()) {
    for (std::uint64_t i = range.begin; i < range.end; ++i) all.insert(i);
  }
  return all;
}

}  // namespace

TEST_CASE("range sets are sets") {
  constexpr std::uint64_t seed = 5;
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  RangeSet set;
  std::set<std::uint64_t> expected;
  for (int i = 0; i < 3'000; ++i) {
    const std::uint64_t begin = random() % 60, end = begin + random() % 12;
    if (random() % 2 == 0) {
      set.add(Range{begin, end});
      for (std::uint64_t p = begin; p < end; ++p) expected.insert(p);
    } else {
      set.remove(Range{begin, end});
      for (std::uint64_t p = begin; p < end; ++p) expected.erase(p);
    }
    REQUIRE(positions(set) == expected);
    REQUIRE(set.size() == expected.size());
    RangeSet rebuilt;
    REQUIRE(rebuilt.assign(set.ranges()));  // sorted, apart, not empty
    RangeSet rest = set;
    const RangeSet taken = rest.take(random() % 20);
    CHECK(set.contains(taken));
    CHECK_FALSE(rest.intersects(taken));
    rest.add(taken);
    CHECK(rest == set);
  }
}

TEST_CASE("a ledger forgets no sample and gives none to two") {
  constexpr std::uint64_t seed = 6, limit = 400;
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  Ledger ledger;
  std::set<std::uint64_t> trained;
  const auto name = [&] { return std::string(1, static_cast<char>('a' + random() % 3)); };
  for (int i = 0; i < 5'000 && !ledger.all_trained(limit); ++i) {
    const std::string who = name();
    switch (random() % 4) {
      case 0:
        ledger.lease(who, ledger.propose(random() % 9, limit));
        break;
      case 1: {
        RangeSet leased = ledger.leased(who);
        const RangeSet used = leased.take(random() % 6);
        ledger.commit(who, used);
        for (std::uint64_t p : positions(used)) CHECK(trained.insert(p).second);
        break;
      }
      case 2:
        if (random() % 4 == 0) ledger.release(who);
        break;
      default: {
        const Position position = ledger.position();
        CHECK(position.next == trained.size() + position.holes.size());
        if (random() % 20 == 0) ledger.reset(position);  // all leases return
      }
    }
    REQUIRE(ledger.consistent());
  }
  CHECK(ledger.all_trained(limit));
  CHECK(trained.size() == limit);
  CHECK(ledger.propose(5, limit).empty());
}

TEST_CASE("slices cover everything once, by bandwidth") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 500; ++i) {
    std::vector<std::uint64_t> bandwidths;
    for (std::uint64_t n = 1 + random() % 8; n > 0; --n) bandwidths.push_back(random() % 1'000'000);
    if (i == 0) bandwidths = {std::numeric_limits<std::uint64_t>::max(), 1, 0};
    const auto cuts = cuts_by_bandwidth(bandwidths);
    const std::uint64_t elements = i % 3 == 0 ? random() % 3'000 : random() % (1ull << 40);
    std::uint64_t at = 0;
    for (std::size_t owner = 0; owner < cuts.size(); ++owner) {
      const Range slice = slice_of(elements, cuts, owner);
      CHECK(slice.begin == at);
      CHECK((slice.begin % 256 == 0 || slice.begin == elements));
      CHECK(slice.end >= slice.begin);
      at = slice.end;
    }
    CHECK(at == elements);
  }
  const std::vector<std::uint64_t> bandwidths{100, 300};
  CHECK(slice_of(1 << 20, cuts_by_bandwidth(bandwidths), 0).end == 1 << 18);
  const std::vector<std::uint64_t> unknown{0, 0};
  CHECK(slice_of(1 << 20, cuts_by_bandwidth(unknown), 0).end == 1 << 19);
}

TEST_CASE("a heartbeat's deadline follows the rhythm, between floor and ceiling") {
  const HeartbeatConfig config{500, 2'000, 10'000, 6};
  HeartbeatDeadline steady(config, 0), wild(config, 0);
  TimeMs now = 0, wild_now = 0;
  for (int i = 0; i < 100; ++i) {
    steady.beat(now += 500);
    wild.beat(wild_now += i % 2 == 0 ? 100 : 1'500);
  }
  CHECK(steady.deadline_ms() == now + 2'000);
  const TimeMs patience = wild.deadline_ms() - wild_now;
  CHECK(patience > 3'000);  // mean 800, mean deviation 700: about 5 s
  CHECK(patience < 7'000);
  wild.beat(wild_now += 100'000);
  CHECK(wild.deadline_ms() == wild_now + 10'000);
  steady.alive(now + 100);
  CHECK(steady.deadline_ms() == now + 2'100);
}

TEST_CASE("few are dropped, and always the same") {
  const auto all = [](const std::string&) { return true; };
  CHECK(whom_to_drop({{"a", "b"}, {"c", "b"}}, all) == std::vector<std::string>{"b"});
  CHECK(whom_to_drop({{"a", "b"}}, all) == std::vector<std::string>{"b"});
  CHECK(whom_to_drop({{"a", "a"}}, all) == std::vector<std::string>{"a"});
  CHECK(whom_to_drop({{"a", "b"}}, [](const std::string& name) { return name == "a"; }) ==
        std::vector<std::string>{"a"});
  CHECK(whom_to_drop({{"a", "b"}}, [](const std::string&) { return false; }).empty());
}

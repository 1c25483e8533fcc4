#include "collectives/ordered/agreement.hpp"

#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"

namespace train::detail {
namespace {

Arrival reduction(std::size_t count) {
  Operation operation;
  operation.kind = Kind::all_reduce;
  operation.sequence = 17;
  operation.send = ConstBuffer(nullptr, count, DataType::bf16);
  return arrival_of(operation);
}

}  // namespace

TEST_CASE("ranks are listed in ranges") {
  CHECK(list_ranks(std::vector{3}) == "rank 3");
  CHECK(list_ranks(std::vector{0, 1}) == "ranks 0, 1");
  CHECK(list_ranks(std::vector{0, 1, 2, 5, 7, 8}) == "ranks 0-2, 5, 7, 8");
}

TEST_CASE("a disagreement says who called what, once for each call") {
  const Membership who{"data", 1, 4};
  const std::vector<Arrival> same(4, reduction(8));
  CHECK_NOTHROW(require_agreement(who, same));
  auto different = same;
  different[2] = reduction(9);
  CHECK_THROWS_WITH_AS(require_agreement(who, different),
                       "ranks of group 'data' disagree at sequence 17: ranks 0, 1, 3 called "
                       "all_reduce(sum, bf16, count 8); rank 2 called all_reduce(sum, bf16, count "
                       "9). Every rank must make the same calls in the same order (seen by rank 1)",
                       Error);
}

TEST_CASE("blocks of one total but other sizes do not agree") {
  Operation operation;
  operation.kind = Kind::all_gather;
  operation.counts = {1, 2, 3};
  const auto first = arrival_of(operation);
  operation.counts = {3, 2, 1};
  CHECK_THROWS_AS(require_agreement({"g", 0, 2}, std::vector{first, arrival_of(operation)}), Error);
}

TEST_CASE("a split orders its members by key, then rank") {
  std::vector<Arrival> arrivals;
  for (const auto& [color, key] : {std::pair{0, 5}, {1, 0}, {0, -3}, {0, 5}, {-1, 0}}) {
    Operation operation;
    operation.kind = Kind::split;
    operation.color = color;
    operation.key = key;
    arrivals.push_back(arrival_of(operation));
  }
  CHECK(members_of(arrivals, 0) == std::vector{2, 0, 3});
  CHECK(members_of(arrivals, 1) == std::vector{1});
  CHECK(members_of(arrivals, -1).empty());
}

}  // namespace train::detail

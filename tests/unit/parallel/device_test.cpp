// Which device a rank gets, and which it is refused.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "libtrain/parallel/grid.hpp"

using namespace train;

TEST_CASE("a node's ranks take its GPUs in turn") {
  CHECK(choose_gpu({.rank = 0, .ranks = 1}, 8) == 0);
  CHECK(choose_gpu({.rank = 3, .ranks = 4}, 4) == 3);
  CHECK(choose_gpu({.rank = 3, .ranks = 4}, 2) == 1);
  // A launcher that shows each rank its own GPU alone.
  CHECK(choose_gpu({.rank = 3, .ranks = 4}, 1) == 0);
}

TEST_CASE("ranks that share GPUs are told apart by who came before, those that do not are not") {
  for (int rank = 0; rank < 4; ++rank) {
    CHECK(ranks_before_on_gpu({.rank = rank, .ranks = 4}, 4) == 0);
    CHECK(ranks_before_on_gpu({.rank = rank, .ranks = 4}, 2) == rank / 2);
    CHECK(ranks_before_on_gpu({.rank = rank, .ranks = 4}, 1) == rank);
  }
}

TEST_CASE("ranks that would share a GPU are refused, with the way out, on every rank") {
  local::run(3, [](Communicator& world) {
    const std::string own[] = {"a", "b", "c"};
    require_own_gpus(world, own[world.rank()]);
    const std::string shared[] = {"a", "b", "a"};
    CHECK_THROWS_WITH_AS(require_own_gpus(world, shared[world.rank()]),
                         doctest::Contains("ranks 0 and 2 have the same GPU"), Error);
    CHECK_THROWS_WITH_AS(require_own_gpus(world, "d"), doctest::Contains("--share-gpu"), Error);
    CHECK(gpus_of_ranks(world, shared[world.rank()]) == std::vector<std::string>{"a", "b", "a"});
  });
}

TEST_CASE("an unknown device is refused with those that there are") {
  CHECK_THROWS_WITH_AS(make_device({.device = "tpu"}, {}),
                       doctest::Contains("--device tpu: devices are cpu and cuda"), Error);
}

TEST_CASE("the processor's cores are shared by a node's ranks") {
  CHECK(threads_per_rank({.threads = 3}, 2) == 3);
  CHECK(threads_per_rank({}, 1 << 20) == 1);
}

TEST_CASE("a tensor group runs the fewest threads that one of its ranks has, whatever others run") {
  local::run(4, [](Communicator& world) {
    const int own[] = {8, 4, 2, 6};
    const auto fewest = [&](int tensor) {
      return fewest_threads(world, {.tensor = tensor}, own[world.rank()]);
    };
    CHECK(fewest(1) == own[world.rank()]);
    CHECK(fewest(2) == (world.rank() < 2 ? 4 : 2));
    CHECK(fewest(4) == 2);
    CHECK(fewest(3) > 0);  // which the grid refuses
  });
}

#include <atomic>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "collectives/local/world.hpp"
#include "collectives/process_grid.hpp"

namespace train {

TEST_CASE("run: the rank that threw is reported, the others are woken") {
  std::atomic<int> woken{0};
  try {
    local::run(4, [&](Communicator& world) {
      if (world.rank() == 2) throw std::out_of_range("no such token");
      try {
        world.barrier().wait();
      } catch (const Error& error) {
        CHECK(std::string(error.what()).find("rank 2 of group 'world' failed: no such token") !=
              std::string::npos);
        ++woken;
        throw;
      }
    });
    FAIL("run must throw");
  } catch (const std::out_of_range& error) {
    CHECK(std::string(error.what()) == "no such token");
  }
  CHECK(woken == 3);
}

TEST_CASE("run: a rank that throws with calls under way wakes the groups it is in") {
  CHECK_THROWS_WITH_AS(local::run(3,
                                  [](Communicator& world) {
                                    std::vector<float> values(100);
                                    const auto part = world.split(0, world.rank(), "part");
                                    if (world.rank() == 0) throw std::runtime_error("broken");
                                    part->barrier().wait();
                                  }),
                       "broken", std::runtime_error);
}

TEST_CASE("run: a rank that returns early is named by those who wait for it") {
  try {
    local::run(3, [](Communicator& world) {
      if (world.rank() != 1) world.barrier().wait();
    });
    FAIL("run must throw");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("rank 1 left group 'world'") != std::string::npos);
  }
}

TEST_CASE("a world may be driven rank by rank; its end finishes what was called") {
  std::vector<float> values(2, 1.0f);
  {
    local::World world(2);
    for (int rank = 0; rank < 2; ++rank) {
      const auto own = std::span(values).subspan(static_cast<std::size_t>(rank), 1);
      static_cast<void>(world.communicator(rank).all_reduce(own, own, ReduceOp::sum));
    }
  }
  CHECK(values == std::vector<float>{2.0f, 2.0f});
  CHECK_THROWS_AS(local::World(0), Error);
}

TEST_CASE("a Work may outlive its communicator") {
  std::vector<float> value{3.0f};
  Work work;
  {
    local::World world(1);
    work = world.communicator(0).all_reduce(std::span(value), std::span(value), ReduceOp::sum);
  }
  work.wait();
  CHECK(value[0] == 3.0f);
  CHECK(Work().done());
}

TEST_CASE("grid: tensor neighbours are closest, the data group skips over them") {
  local::run(6, [](Communicator& world) {
    const ProcessGrid grid(world, {.data = 3, .tensor = 2});
    CHECK(grid.tensor().size() == 2);
    CHECK(grid.data().size() == 3);
    CHECK(world.rank() == grid.data_rank() * 2 + grid.tensor_rank());
    std::vector<int> sums{world.rank(), world.rank()};
    const auto first = std::span(sums).first(1), second = std::span(sums).last(1);
    grid.tensor().all_reduce(first, first, ReduceOp::sum).wait();
    grid.data().all_reduce(second, second, ReduceOp::sum).wait();
    CHECK(sums[0] == 4 * grid.data_rank() + 1);
    CHECK(sums[1] == 6 + 3 * grid.tensor_rank());
    CHECK(grid.data().name() == "data");
  });
}

TEST_CASE("grid: shard groups hold neighbours of the data group, replicas the same shard") {
  local::run(8, [](Communicator& world) {
    const ProcessGrid grid(world, {.data = 4, .tensor = 2, .shard = 2});
    REQUIRE(grid.replicas() != nullptr);
    CHECK(grid.shard().size() == 2);
    CHECK(grid.replicas()->size() == 2);
    CHECK(grid.shard().rank() == grid.data_rank() % 2);
    CHECK(grid.replicas()->rank() == grid.data_rank() / 2);
    std::vector<int> sums{world.rank(), world.rank()};
    const auto first = std::span(sums).first(1), second = std::span(sums).last(1);
    grid.shard().all_reduce(first, first, ReduceOp::sum).wait();
    grid.replicas()->all_reduce(second, second, ReduceOp::sum).wait();
    CHECK(sums[0] == 2 * (grid.data_rank() / 2 * 4 + grid.tensor_rank()) + 2);
    CHECK(sums[1] == 2 * (grid.data_rank() % 2 * 2 + grid.tensor_rank()) + 4);
    const ProcessGrid whole(world, {.data = 4, .tensor = 2, .shard = 4});
    CHECK(whole.replicas() == nullptr);
    CHECK(&whole.shard() == &whole.data());
  });
}

TEST_CASE("grid: a shape that does not fit is refused with its numbers") {
  local::run(2, [](Communicator& world) {
    CHECK_THROWS_WITH_AS(ProcessGrid(world, {.data = 2, .tensor = 2}),
                         "grid of data 2 x tensor 2 needs 4 ranks, but group 'world' has 2: start "
                         "4 ranks or choose factors of 2",
                         Error);
    CHECK_THROWS_WITH_AS(ProcessGrid(world, {.data = 2, .shard = 3}),
                         doctest::Contains("shard groups of 3 ranks do not divide 2 data ranks"),
                         Error);
    CHECK_THROWS_AS(ProcessGrid(world, {.data = -1, .tensor = -2}), Error);
    CHECK_THROWS_AS(ProcessGrid(world, {.data = 0, .tensor = 2}), Error);
  });
}

}  // namespace train

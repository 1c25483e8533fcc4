// What goes to lanes and back is what it was, from every grid and to any number of lanes.

#include "libtrain/rounds/lanes.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "libtrain/parallel/plan.hpp"
#include "libtrain/rounds/cluster_status.hpp"
#include "libtrain/tensor/booked_memory.hpp"
#include "tests/support/rank_device.hpp"
#include "tests/support/ranked.hpp"
#include "tests/support/training.hpp"

using namespace train;
using train::test::to_host;

namespace {

// To the lanes, and back over other values.
void check(const Grid& grid, Zero zero, int lanes) {
  Gpt model(training::tiny_llama(), grid.device());
  parallelize(model, grid, megatron_plan());
  ShardedOptimizer optimizer(model, grid, AdamW{}, {.zero = zero});
  const Fragments fragments(optimizer.full_precision(), 2);
  const std::vector<LogicalTensor> tensors = fragments.in_order(optimizer.full_precision());
  BookedMemory memory(grid.device().memory(MemoryUse::lanes));
  const Lanes carried(grid, tensors, fragments, lanes, memory);
  for (int fragment = 0; fragment < fragments.count(); ++fragment) {
    std::vector<float> lane(carried.count(fragment));
    carried.collect(tensors, fragment, lane);
    const TensorRange range = fragments.tensors({fragment, fragment + 1});
    std::vector<std::vector<float>> before;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const Tensor& local = tensors[i].local;
      before.push_back(local.defined() ? to_host(local) : std::vector<float>());
      const std::vector<float> other(before.back().size(), -7.5f);
      if (local.defined()) local.copy_from_host(std::as_bytes(std::span(other)));
    }
    carried.spread(lane, fragment, tensors);
    for (std::size_t i = range.begin; i < range.end; ++i) {
      INFO(fmt::format("{} x {} x {}, stage {}, {} lanes, {}", grid.shape().data,
                       grid.shape().context, grid.shape().tensor, static_cast<int>(zero), lanes,
                       tensors[i].name));
      const Tensor& local = tensors[i].local;
      if (local.defined()) CHECK(to_host(local) == before[i - range.begin]);
    }
  }
}

}  // namespace

TEST_CASE("lanes give back what they were given, from every grid") {
  ranked([](Communicator& world) {
    for (const int tensor : {1, 2}) {
      for (const int context : {1, 2}) {
        if (world.size() % (tensor * context) != 0) continue;
        const Grid grid(
            world, {.data = world.size() / tensor / context, .context = context, .tensor = tensor},
            train::test::rank_device(world.rank()));
        for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage3}) {
          for (const int lanes : {1, 2}) {
            if (lanes <= world.size()) check(grid, zero, lanes);
          }
        }
      }
    }
  });
}

TEST_CASE("what cannot go on in a lane is told with its rank") {
  ranked([](Communicator& world) {
    const int last = world.size() - 1;
    RankStatus own;
    own.has_lane = true;
    if (world.rank() == last) {
      own.exchange = {LaneExchange::Stage::failed, "", "a value cannot be exchanged"};
    }
    const std::string fatal = gather_status(world, own).exchange.fatal;
    const std::string where = last == 0 ? "" : fmt::format("on rank {}, ", last);
    CHECK(fatal == where + "a value cannot be exchanged");
  });
}

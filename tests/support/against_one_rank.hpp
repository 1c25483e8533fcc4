#pragma once

#include <doctest/doctest.h>

#include "tests/support/training.hpp"

/// Training on any grid beside training on one rank.
namespace training {

constexpr train::Zero stages[] = {train::Zero::stage0, train::Zero::stage1, train::Zero::stage2,
                                  train::Zero::stage3};

/// All ranks as data x tensor, for each tensor degree that divides them.
inline std::vector<train::GridOptions> grids_of(int ranks) {
  std::vector<train::GridOptions> grids;
  for (int tensor = 1; tensor <= ranks; ++tensor) {
    if (ranks % tensor == 0) grids.push_back({.data = ranks / tensor, .tensor = tensor});
  }
  return grids;
}

/// The grids whose data ranks form several shard groups.
inline std::vector<train::GridOptions> grids_with_replicas(int ranks) {
  std::vector<train::GridOptions> grids;
  for (train::GridOptions grid : grids_of(ranks)) {
    for (grid.shard = 1; grid.shard < grid.data; ++grid.shard) {
      if (grid.data % grid.shard == 0) grids.push_back(grid);
    }
  }
  return grids;
}

/// Nothing of it divides by anything.
inline train::GptConfig odd_sizes() {
  train::GptConfig config =
      train::parse_model("llama,layers=2,heads=6,kv_heads=3,width=24,hidden=25,context=8");
  config.vocabulary = 37;
  config.tied_head = true;
  return config;
}

inline Outcome train_alone(train::Communicator& world, const Run& run) {
  const auto self = world.split(world.rank(), 0, "self");
  return train_on(*self, run);
}

inline void check_against_one_rank(train::Communicator& world, Run run,
                                   std::span<const train::GridOptions> grids,
                                   std::span<const train::Zero> at) {
  const Outcome alone = train_alone(world, run);
  for (const train::GridOptions& grid : grids) {
    for (const train::Zero zero : at) {
      run.grid = grid;
      run.optimizer.zero = zero;
      const Outcome together = train_on(world, run);
      if (world.rank() != 0) continue;
      CAPTURE(grid.data);
      CAPTURE(grid.context);
      CAPTURE(grid.tensor);
      CAPTURE(grid.shard);
      CAPTURE(static_cast<int>(zero));
      CHECK(largest_relative_difference(alone, together) < 1e-5);
      CHECK(together.records.back().grad_norm ==
            doctest::Approx(alone.records.back().grad_norm).epsilon(1e-4));
      REQUIRE(together.records.back().val_loss.has_value());
      CHECK(*together.records.back().val_loss ==
            doctest::Approx(*alone.records.back().val_loss).epsilon(1e-5));
    }
  }
}

}  // namespace training

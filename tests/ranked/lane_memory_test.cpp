// What a cluster's lanes hold is what libtrain/forecast says, to the byte.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "libtrain/forecast/lane_forecast.hpp"
#include "libtrain/rounds/lane_layout.hpp"
#include "tests/support/job_of_clusters.hpp"
#include "tests/support/ranked.hpp"

using namespace train;
using training::ClusterOutcome;
using training::JobOfClusters;

namespace {

constexpr wide::Codec codecs[] = {wide::Codec::none, wide::Codec::bf16, wide::Codec::int8,
                                  wide::Codec::int4};

// Enough steps for each fragment to be exchanged twice: an owner's feedback is whole then.
void check(Communicator& world, const RoundOptions& options) {
  JobOfClusters job(world);
  const GptConfig config = training::tiny_llama();
  const ClusterOutcome outcome = job.train(training::run_of(config, 8, 4), options);
  const int ranks = job.ranks().size();
  int lane = -1;
  for (int i = 0; i < options.lanes; ++i) {
    if (rank_of_lane(i, options.lanes, ranks) == job.ranks().rank()) lane = i;
  }
  INFO(fmt::format("{} lanes, codec {}, {} fragments, overlap {}, {}; rank {} of {}, lane {}",
                   options.lanes, wide::name_of(options.codec), options.fragments,
                   options.overlap_steps,
                   options.synchronisation == Synchronisation::rounds ? "rounds" : "every step",
                   world.rank(), world.size(), lane));
  const std::int64_t now = outcome.memory.now_of(MemoryUse::lanes);
  const std::int64_t peak = outcome.memory.peak_of(MemoryUse::lanes);
  if (lane < 0) {
    // Of tensors on a GPU, what passes through the host on its way to other ranks.
    const bool passes = !train::test::rank_device(job.ranks().rank())->memory().on_host();
    CHECK(now == 0);
    CHECK((peak > 0) == passes);
    return;
  }
  const LaneShape shape{
      .rounds = options.checked(), .ranks = ranks, .clusters = static_cast<int>(job.clusters())};
  const LaneForecast memory = forecast_lane(config, shape, lane, static_cast<int>(job.index()));
  CHECK(peak == memory.peak());
  // The copies for steps that run ahead are gone; what was sent last is there.
  const std::int64_t copies = options.overlap_steps > 0 ? memory.values / 3 : 0;
  CHECK(now == memory.outer_state + memory.feedback + memory.values - copies);
  CHECK(memory.peak() <= forecast_lanes(config, shape).peak());
}

}  // namespace

TEST_CASE("lanes hold what is forecast, with every codec, in one fragment and in two") {
  ranked([](Communicator& world) {
    for (const wide::Codec codec : codecs) {
      for (const int lanes : {1, 2}) {
        if (lanes == 2 && world.size() != 4) continue;
        check(world, {.inner_steps = 4, .lanes = lanes, .codec = codec});
        check(world, {.inner_steps = 4, .fragments = 2, .lanes = lanes, .codec = codec});
      }
    }
  });
}

TEST_CASE("lanes hold a copy more where steps run ahead, and AdamW's moments in every step") {
  ranked([](Communicator& world) {
    for (const int lanes : {1, 2}) {
      if (lanes == 2 && world.size() != 4) continue;
      for (const int fragments : {1, 2}) {
        check(world,
              {.inner_steps = 4, .fragments = fragments, .lanes = lanes, .overlap_steps = 1});
      }
      for (const wide::Codec codec : codecs) {
        check(world,
              {.synchronisation = Synchronisation::every_step, .lanes = lanes, .codec = codec});
      }
    }
  });
}

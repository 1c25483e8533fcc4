// Clusters of different size, grid and stage as parts of one group of ranks: one job.

#include "libtrain/rounds/rounds.hpp"

#include <cstring>

#include <doctest/doctest.h>

#include "libtrain/parallel/gather.hpp"
#include "libtrain/parallel/plan.hpp"
#include "libtrain/rounds/fixed_exchange.hpp"
#include "tests/support/group_peers.hpp"
#include "tests/support/ranked.hpp"
#include "tests/support/training.hpp"

using namespace train;

namespace {

struct ClusterForm {
  GridOptions grid;
  Zero zero = Zero::stage0;

  int ranks() const { return grid.data * grid.tensor; }
};

// The clusters that so many ranks make.
std::vector<ClusterForm> clusters_of(int ranks) {
  switch (ranks) {
    case 1:
      return {{{.data = 1, .tensor = 1}}};
    case 2:
      return {{{.data = 1, .tensor = 1}}, {{.data = 1, .tensor = 1}, Zero::stage3}};
    case 4:
      return {{{.data = 2, .tensor = 1}, Zero::stage2}, {{.data = 1, .tensor = 2}}};
    default:
      return {{{.data = 2, .tensor = 1}, Zero::stage2},
              {{.data = 1, .tensor = 2}, Zero::stage1},
              {{.data = 1, .tensor = 1}}};
  }
}

constexpr std::int64_t context = 8;

// Sequences that a model can learn; which ones, only their global index says.
std::vector<std::int32_t> tokens_of(std::int64_t first, std::int64_t sequences) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(sequences * (context + 1)));
  const training::PatternSource source(1 << 20, 32);
  source.read(static_cast<std::uint64_t>(first * (context + 1)), tokens);
  return tokens;
}

// One cluster's part of the job.
class Cluster {
 public:
  Cluster(Communicator& ranks, const ClusterForm& form, DataType type)
      : grid_(ranks, form.grid, make_cpu_device(1)),
        model_(training::tiny_llama(), grid_.device(), {.type = type}) {
    parallelize(model_, grid_, megatron_plan());
    optimizer_.emplace(
        model_, grid_, AdamW{.lr = 1e-2f},
        OptimizerOptions{.zero = form.zero, .bucket_bytes = 2048, .resident_elements = 20});
  }

  const Grid& grid() const { return grid_; }
  ShardedOptimizer& optimizer() { return *optimizer_; }

  // Trains `sequences` from `first` on, its data ranks each on a part; returns the mean loss.
  double step(std::int64_t first, std::int64_t sequences) {
    const std::int64_t each = sequences / grid_.data().size();
    const auto tokens = tokens_of(first + each * grid_.data().rank(), each);
    std::vector<std::int32_t> inputs;
    std::vector<std::int32_t> targets;
    for (std::int64_t i = 0; i < each; ++i) {
      const auto begin = tokens.begin() + i * (context + 1);
      inputs.insert(inputs.end(), begin, begin + context);
      targets.insert(targets.end(), begin + 1, begin + context + 1);
    }
    Batch batch;
    batch.inputs = inputs;
    batch.targets = targets;
    batch.sequences = each;
    batch.context = context;
    batch.tokens_in_step = sequences * context;
    Loss loss = model_.loss(batch);
    loss.backward();
    optimizer_->step();
    double sum = loss.value();
    const std::span<double> place(&sum, 1);
    grid_.data().all_reduce(place, place, ReduceOp::sum).wait();
    return sum;
  }

  // On the cluster's first rank.
  std::vector<std::byte> parameters() {
    std::vector<std::byte> all;
    for (const LogicalTensor& tensor : optimizer_->parameters()) {
      const auto whole = gather(tensor, grid_.world(), 0);
      all.insert(all.end(), whole.begin(), whole.end());
    }
    return all;
  }

 private:
  Grid grid_;
  Gpt model_;
  std::optional<ShardedOptimizer> optimizer_;
};

// A job on the ranks of `world`: which cluster this rank is in, and the way between the clusters.
class JobOfClusters {
 public:
  JobOfClusters(Communicator& world, int lanes, wide::Codec codec, DataType type = DataType::f32)
      : world_(world), codec_(codec), forms_(clusters_of(world.size())) {
    int rank = world.rank();
    while (rank >= forms_[index_].ranks()) rank -= forms_[index_++].ranks();
    ranks_ = world.split(static_cast<int>(index_), rank, "cluster");
    for (int lane = 0; lane < lanes; ++lane) {
      const bool mine = rank_of_lane(lane, lanes, ranks_->size()) == rank;
      auto group = world.split(mine ? 0 : -1, static_cast<int>(index_), "lane");
      if (group != nullptr) lane_ranks_ = std::move(group);
    }
    if (lane_ranks_ != nullptr) peers_ = std::make_unique<GroupPeers>(*lane_ranks_);
    cluster_ = std::make_unique<Cluster>(*ranks_, forms_[index_], type);
  }

  Cluster& cluster() { return *cluster_; }
  std::int64_t index() const { return static_cast<std::int64_t>(index_); }
  std::int64_t clusters() const { return static_cast<std::int64_t>(forms_.size()); }
  Rounds rounds(const RoundOptions& options) {
    return {cluster_->grid(), cluster_->optimizer(), options, [this](int, std::size_t count) {
              return std::make_unique<FixedExchange>(*peers_, codec_, count,
                                                     [] { return WideTraffic{}; });
            }};
  }

  // Every cluster's first rank has the same parameters as the job's first rank.
  void check_same_parameters() {
    std::vector<std::byte> own = cluster_->parameters();
    auto firsts = world_.split(ranks_->rank() == 0 ? 0 : -1, static_cast<int>(index_), "firsts");
    if (firsts == nullptr) return;
    std::vector<std::byte> root = own;
    firsts->broadcast({root.data(), root.size(), DataType::u8}, 0).wait();
    CHECK(root == own);
  }

  void check_same_hash(std::uint64_t own) {
    std::uint64_t root = own;
    world_.broadcast({&root, sizeof root, DataType::u8}, 0).wait();
    CHECK(root == own);
  }

 private:
  Communicator& world_;
  wide::Codec codec_;
  std::vector<ClusterForm> forms_;
  std::size_t index_ = 0;
  std::unique_ptr<Communicator> ranks_;
  std::unique_ptr<Communicator> lane_ranks_;
  std::unique_ptr<GroupPeers> peers_;
  std::unique_ptr<Cluster> cluster_;
};

std::vector<int> lane_counts(int ranks) {
  return ranks == 4 ? std::vector<int>{1, 2} : std::vector<int>{1};
}

}  // namespace

TEST_CASE("clusters that average every step's gradients train as one cluster does") {
  ranked([](Communicator& world) {
    for (const int lanes : lane_counts(world.size())) {
      JobOfClusters job(world, lanes, wide::Codec::none);
      Rounds rounds =
          job.rounds({.synchronisation = Synchronisation::every_step, .lanes = lanes, .outer = {}});
      const auto self = world.split(world.rank(), 0, "self");
      Cluster alone(*self, {}, DataType::f32);
      for (int step = 0; step < 20; ++step) {
        const std::int64_t batch = 4 * job.clusters();
        const double expected = alone.step(step * batch, batch);
        double loss = job.cluster().step(step * batch + 4 * job.index(), 4);
        rounds.step(4 * context);
        // Each cluster's loss is over its own sequences.
        double sum = loss / job.cluster().grid().world().size();
        const std::span<double> place(&sum, 1);
        world.all_reduce(place, place, ReduceOp::sum).wait();
        CHECK(sum / static_cast<double>(job.clusters()) == doctest::Approx(expected).epsilon(1e-4));
      }
      job.check_same_parameters();
    }
  });
}

TEST_CASE("after each round all clusters have the same parameters, with every codec") {
  ranked([](Communicator& world) {
    for (const int lanes : lane_counts(world.size())) {
      for (const wide::Codec codec :
           {wide::Codec::none, wide::Codec::bf16, wide::Codec::int8, wide::Codec::int4}) {
        CAPTURE(static_cast<int>(codec));
        JobOfClusters job(world, lanes, codec);
        Rounds rounds = job.rounds({.inner_steps = 10, .lanes = lanes, .outer = {}});
        double first = 0.0;
        double last = 0.0;
        for (int step = 0; step < 120; ++step) {
          last = job.cluster().step(step * 16 + 4 * job.index(), 4);
          if (step == 0) first = last;
          if (!rounds.step(4 * context * static_cast<std::uint64_t>(1 + job.index()))) continue;
          job.check_same_hash(rounds.hash());
          job.check_same_parameters();
        }
        CHECK(rounds.rounds_done() == 12);
        CHECK(last < 0.9 * first);
      }
    }
  });
}

TEST_CASE("bf16 models exchange their full-precision copies") {
  ranked([](Communicator& world) {
    JobOfClusters job(world, 1, wide::Codec::int8, DataType::bf16);
    Rounds rounds = job.rounds({.inner_steps = 3, .lanes = 1, .outer = {}});
    for (int step = 0; step < 6; ++step) {
      job.cluster().step(step * 16 + 4 * job.index(), 4);
      rounds.step(4 * context);
    }
    job.check_same_hash(rounds.hash());
    job.check_same_parameters();
  });
}

TEST_CASE("with one cluster, plain averaging and no codec, rounds change nothing but rounding") {
  ranked([](Communicator& world) {
    const auto self = world.split(world.rank(), 0, "self");
    GroupPeers peers(*self);
    Cluster with(*self, {}, DataType::f32);
    Cluster without(*self, {}, DataType::f32);
    Rounds rounds(with.grid(), with.optimizer(),
                  {.inner_steps = 3, .outer = {.lr = 1.0f, .momentum = 0.0f}},
                  [&](int, std::size_t count) {
                    return std::make_unique<FixedExchange>(peers, wide::Codec::none, count,
                                                           [] { return WideTraffic{}; });
                  });
    for (int step = 0; step < 12; ++step) {
      const double expected = without.step(step * 4, 4);
      CHECK(with.step(step * 4, 4) == doctest::Approx(expected).epsilon(1e-5));
      rounds.step(4 * context);
    }
  });
}

TEST_CASE("options that cannot be are refused") {
  ranked([](Communicator& world) {
    JobOfClusters job(world, 1, wide::Codec::none);
    CHECK_THROWS_WITH_AS(job.rounds({.inner_steps = 0, .outer = {}}),
                         doctest::Contains("--inner-steps is 0"), Error);
    CHECK_THROWS_WITH_AS(job.rounds({.lanes = 99, .outer = {}}), doctest::Contains("99 lanes"),
                         Error);
    CHECK_THROWS_WITH_AS(job.rounds({.outer = {.momentum = 1.0f}}),
                         doctest::Contains("--outer-momentum"), Error);
  });
}

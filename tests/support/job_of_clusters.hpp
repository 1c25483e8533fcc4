#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/wide/service/coordinator_server.hpp"
#include "libtrain/memory_report.hpp"
#include "libtrain/parallel/gather.hpp"
#include "libtrain/parallel/plan.hpp"
#include "libtrain/rounds/rounds.hpp"
#include "tests/support/rank_device.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/training.hpp"

/// Jobs of several clusters in tests: the ranks of one group, cut into clusters of different size,
/// grid and stage, with a coordinator on the first rank and plain links over loopback.
namespace training {

struct ClusterForm {
  train::GridOptions grid;
  train::Zero zero = train::Zero::stage0;

  int ranks() const { return grid.data * grid.context * grid.tensor; }
};

/// The clusters that so many ranks make.
inline std::vector<ClusterForm> clusters_of(int ranks) {
  using train::Zero;
  switch (ranks) {
    case 1:
      return {{{.data = 1, .tensor = 1}}};
    case 2:
      return {{{.data = 1, .tensor = 1}}, {{.data = 1, .tensor = 1}, Zero::stage3}};
    case 4:
      return {{{.data = 2, .tensor = 1}, Zero::stage2}, {{.data = 1, .tensor = 2}}};
    default:
      return {{{.data = 1, .context = 2, .tensor = 1}, Zero::stage2},
              {{.data = 1, .tensor = 2}, Zero::stage1},
              {{.data = 1, .tensor = 1}}};
  }
}

struct ClusterOutcome {
  std::vector<train::StepRecord> records;  // on the cluster's first rank
  std::vector<std::byte> parameters;       // the same
  train::wide::StateInfo state;
  bool finished = false, budget_spent = false, too_late = false;
  train::MemoryUsage memory;  // of this rank, before the job's end is taken down
};

class JobOfClusters {
 public:
  /// The job begins once `clusters_min` are there: all, unless said otherwise.
  explicit JobOfClusters(train::Communicator& world, train::wide::CoordinatorConfig config = {},
                         std::size_t clusters_min = 0)
      : world_(world), forms_(clusters_of(world.size())) {
    int rank = world.rank();
    while (rank >= forms_[index_].ranks()) rank -= forms_[index_++].ranks();
    ranks_ = world.split(static_cast<int>(index_), rank, "cluster");
    std::int64_t port = 0;
    if (world.rank() == 0) {
      config.clusters_min = clusters_min == 0 ? forms_.size() : clusters_min;
      train::wide::CoordinatorServerOptions options;
      options.listen = {"127.0.0.1:0"};
      options.journal = directory_.path();
      options.node.plaintext = true;
      options.coordinator = config;
      server_ = std::make_unique<train::wide::CoordinatorServer>(std::move(options));
      port = server_->ports().front();
    }
    world.broadcast(std::span<std::int64_t>(&port, 1), 0).wait();
    coordinator_ = "127.0.0.1:";
    coordinator_ += std::to_string(port);
  }

  std::size_t index() const { return index_; }
  std::size_t clusters() const { return forms_.size(); }
  const ClusterForm& form() const { return forms_[index_]; }
  train::Communicator& ranks() { return *ranks_; }

  /// On the first rank: as if it had died, but for its goodbye.
  void stop_coordinator() { server_.reset(); }

  std::chrono::milliseconds leave_notice{20'000};
  train::EgressOptions egress;

  train::JobOptions options_of_cluster(std::function<bool()> leaves = {}) const {
    return {.cluster = std::to_string(index_ + 1).insert(0, 1, 'c'),
            .coordinator = {coordinator_},
            .leave_notice = leave_notice,
            .patience = std::chrono::seconds(40),
            .leaves = std::move(leaves),
            .egress = egress};
  }

  /// Trains this rank's cluster to the end of the job. `sink` sees its records as they come.
  /// `prepare` is called with the optimizer before that.
  ClusterOutcome train(const Run& run, const train::RoundOptions& options,
                       std::function<bool()> leaves = {},
                       std::function<void(const train::StepRecord&)> sink = {},
                       const std::function<void(train::ShardedOptimizer&)>& prepare = {}) {
    const train::Grid grid(*ranks_, form().grid, train::test::rank_device(ranks_->rank()));
    train::Gpt model(run.config, grid.device(), {.type = run.type});
    train::parallelize(model, grid, train::megatron_plan());
    train::ShardedOptimizer optimizer(
        model, grid, run.adamw,
        {.zero = form().zero,
         .bucket_bytes = 2048,
         .resident_elements = 20,
         .moments = options.synchronisation == train::Synchronisation::rounds});
    if (prepare) prepare(optimizer);
    train::TokenDataset data(std::make_shared<PatternSource>(4000, run.config.vocabulary),
                             {.validation_fraction = 0.1});
    train::Trainer trainer(grid, model, optimizer, data, run.trainer);
    train::Rounds rounds(grid, optimizer, options, options_of_cluster(std::move(leaves)));
    ClusterOutcome outcome;
    if (grid.rank() == 0) {
      trainer.add_sink(std::make_unique<CollectingSink>(outcome.records));
      if (sink) trainer.add_sink(std::make_unique<CallingSink>(std::move(sink)));
    }
    trainer.set_rounds(rounds);
    trainer.run();
    outcome.state = rounds.state();
    outcome.finished = rounds.finished();
    outcome.budget_spent = rounds.budget_spent();
    outcome.too_late = rounds.too_late();
    outcome.memory = train::memory_usage(grid.device());
    for (const train::LogicalTensor& tensor : optimizer.parameters()) {
      const auto whole = train::gather(tensor, grid.world(), 0);
      outcome.parameters.insert(outcome.parameters.end(), whole.begin(), whole.end());
    }
    return outcome;
  }

  /// All clusters ended with the state of the first one, to the bit.
  void check_same(const ClusterOutcome& own) {
    std::uint64_t hash = own.state.hash;
    world_.broadcast({&hash, sizeof hash, train::DataType::u8}, 0).wait();
    CHECK(hash == own.state.hash);
    const bool first = ranks_->rank() == 0;
    auto firsts = world_.split(first ? 0 : -1, static_cast<int>(index_), "firsts");
    if (firsts == nullptr) return;
    std::vector<std::byte> root = own.parameters;
    firsts->broadcast({root.data(), root.size(), train::DataType::u8}, 0).wait();
    CHECK(root == own.parameters);
  }

  /// The sum over clusters of what their first ranks say.
  double sum(double own) {
    double value = ranks_->rank() == 0 ? own : 0.0;
    const std::span<double> place(&value, 1);
    world_.all_reduce(place, place, train::ReduceOp::sum).wait();
    return value;
  }

 private:
  class CallingSink final : public train::MetricsSink {
   public:
    explicit CallingSink(std::function<void(const train::StepRecord&)> call)
        : call_(std::move(call)) {}
    void write(const train::StepRecord& record) override { call_(record); }

   private:
    std::function<void(const train::StepRecord&)> call_;
  };

  train::Communicator& world_;
  std::vector<ClusterForm> forms_;
  std::size_t index_ = 0;
  std::unique_ptr<train::Communicator> ranks_;
  train::test::ScratchDirectory directory_;
  std::unique_ptr<train::wide::CoordinatorServer> server_;
  std::string coordinator_;
};

}  // namespace training

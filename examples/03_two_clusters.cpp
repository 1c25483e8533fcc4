// Two clusters of different shape train one model: each is an mpirun of its own, and they exchange
// what has changed every 20 steps, in 8 bits, over links between them.
//
//   mpirun -np 1 build/bin/03_two_clusters a &
//   mpirun -np 2 build/bin/03_two_clusters b
//
// Both print the same hash of the parameters at the end. On loopback the links are plain; between
// machines they need a certificate of the job for each cluster (launch/trainctl certs).

#include <cstdio>

#include "libtrain/train.hpp"

int main(int argc, char** argv) {
  return train::run(argc, argv, [](train::Job& job) {
    if (job.argc() != 2) throw train::Error("say which cluster this is: 03_two_clusters a | b");
    train::FixedClusters clusters(
        job.world(), {.clusters = train::clusters_from("a=127.0.0.1:7701,b=127.0.0.1:7702"),
                      .self = job.argv()[1],
                      .timeout = std::chrono::seconds(60)});

    // All ranks of a cluster split the model: a has one, b two.
    train::Grid grid = job.grid({.data = 1, .tensor = job.size(), .threads = 1});
    train::TokenDataset data("/usr/include/eigen3/Eigen/src/Core", {.tokenizer = "bytes"});
    train::Gpt model(train::gpt_nano(), grid.device());
    train::parallelize(model, grid, train::megatron_plan());
    train::ShardedOptimizer optimizer(model, grid, train::AdamW{.lr = 1e-3f});

    train::Rounds rounds(grid, optimizer, {.inner_steps = 20}, clusters.exchanges());
    train::Trainer trainer(grid, model, optimizer, data,
                           {.steps = 100,
                            .batch = 8,
                            .schedule = {.lr = 1e-3f, .min_lr = 1e-4f},
                            .clusters = clusters.count(),
                            .cluster = clusters.index()});
    trainer.set_rounds(rounds);
    if (job.is_root()) trainer.add_sink(std::make_unique<train::ConsoleSink>());
    trainer.run();

    const std::uint64_t hash = rounds.hash();
    const double sent_mb = static_cast<double>(rounds.traffic().bytes_sent) / 1e6;
    if (job.is_root()) {
      std::printf("cluster %s: %.2f MB sent, parameters %016llx\n", job.argv()[1], sent_mb,
                  static_cast<unsigned long long>(hash));
    }
    return 0;
  });
}

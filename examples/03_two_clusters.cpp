// Two clusters of different shape train one model: each is an mpirun of its own, and they exchange
// what has changed every 20 steps, in 8 bits, over links between them.
//
//   build/bin/train_coordinator --listen 127.0.0.1:7600 --journal runs/two --clusters-min 2
//                               --plaintext &
//   mpirun -np 1 build/bin/03_two_clusters a &
//   mpirun -np 2 build/bin/03_two_clusters b
//
// Both print the same hash of the parameters at the end. On loopback the links are plain; between
// machines they need a certificate of the job for each cluster (launch/trainctl certs).

#include <cstdio>

#include "libtrain/train.hpp"

int main(int argc, char** argv) {
  return train::run(argc, argv, [](train::Job& job) {
    if (job.argc() < 2 || job.argc() > 4) {
      throw train::Error("usage: 03_two_clusters NAME [COORDINATOR [cpu|cuda]]");
    }
    const std::string name = job.argv()[1];
    const std::string coordinator = job.argc() > 2 ? job.argv()[2] : "127.0.0.1:7600";
    const std::string device = job.argc() > 3 ? job.argv()[3] : "cpu";

    // All ranks of a cluster split the model: a has one, b two.
    train::Grid grid = job.grid({.data = 1, .tensor = job.size(), .device = device, .threads = 1});
    train::TokenDataset data("/usr/include/eigen3/Eigen/src/Core", {.tokenizer = "bytes"});
    train::Gpt model(train::gpt_nano(), grid.device());
    train::parallelize(model, grid, train::megatron_plan());
    train::ShardedOptimizer optimizer(model, grid, train::AdamW{.lr = 1e-3f});

    train::Trainer trainer(grid, model, optimizer, data,
                           {.steps = 100, .batch = 8, .schedule = {.lr = 1e-3f, .min_lr = 1e-4f}});
    train::Rounds rounds(grid, optimizer, {.inner_steps = 20},
                         {.cluster = name,
                          .coordinator = {coordinator},
                          .patience = std::chrono::seconds(60),
                          .on_log = train::log_line});
    trainer.set_rounds(rounds);
    if (job.is_root()) trainer.add_sink(std::make_unique<train::ConsoleSink>());
    trainer.run();

    const double sent_mb = static_cast<double>(rounds.traffic().total().sent) / 1e6;
    if (job.is_root()) {
      std::printf("cluster %s: %s, %.2f MB sent, parameters %016llx\n", name.c_str(),
                  rounds.ending().c_str(), sent_mb, static_cast<unsigned long long>(rounds.hash()));
    }
    return 0;
  });
}

// Four ranks as a grid: two copies of the model, each split over two ranks, and optimizer state,
// gradients and parameters shared out between the copies.
//
//   mpirun -np 4 build/bin/02_grid [cpu|cuda]
//
// Prints what each rank's memory held beside what one rank alone would need.

#include <cstdio>

#include "libtrain/train.hpp"

int main(int argc, char** argv) {
  return train::run(argc, argv, [](train::Job& job) {
    const std::string device = job.argc() > 1 ? job.argv()[1] : "cpu";
    train::Grid grid = job.grid({.data = 2, .tensor = 2, .device = device});
    train::TokenDataset data("/usr/include/eigen3/Eigen/src/Core", {.tokenizer = "bytes"});

    train::Gpt model(train::gpt_nano(), grid.device());       // written as if for one device
    train::parallelize(model, grid, train::megatron_plan());  // a table: layer -> column | row | …
    train::ShardedOptimizer optimizer(model, grid, train::AdamW{.lr = 1e-3f},
                                      {.zero = train::Zero::stage3, .resident_elements = 1000});
    train::Trainer trainer(grid, model, optimizer, data,
                           {.steps = 50, .batch = 16, .schedule = {.lr = 1e-3f, .min_lr = 1e-4f}});
    if (job.is_root()) trainer.add_sink(std::make_unique<train::ConsoleSink>());
    trainer.run();

    const std::string report = train::memory_report(grid.device(), grid.world());
    const double alone_mib =
        16.0 * static_cast<double>(model.config().parameter_count()) / (1 << 20);
    if (job.is_root()) {
      std::printf("%sone rank alone: %.3f of parameters, gradients and optimizer state\n",
                  report.c_str(), alone_mib);
    }
    return 0;
  });
}

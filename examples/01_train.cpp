// The shortest training program: a small GPT on C++ headers, data-parallel over all ranks.
//
//   mpirun -np 2 build/bin/01_train [cpu|cuda]
//
// Shows a line with step, loss and tokens/s; the loss falls from 5.6 to 2.7.

#include "libtrain/train.hpp"

int main(int argc, char** argv) {
  return train::run(argc, argv, [](train::Job& job) {
    train::Grid grid = job.grid({.device = job.argc() > 1 ? job.argv()[1] : "cpu"});
    train::TokenDataset data("/usr/include/eigen3/Eigen/src/Core", {.tokenizer = "bytes"});

    train::Gpt model(train::gpt_nano(), grid.device());
    train::ShardedOptimizer optimizer(model, grid, train::AdamW{.lr = 1e-3f});
    train::Trainer trainer(grid, model, optimizer, data,
                           {.steps = 200, .batch = 16, .schedule = {.lr = 1e-3f, .min_lr = 1e-4f}});
    if (job.is_root()) trainer.add_sink(std::make_unique<train::ConsoleSink>());
    trainer.run();
    return 0;
  });
}

#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "libtrain/agreement.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/training.hpp"

/// Small trainings that are saved and loaded.
namespace checkpoints {

/// A directory that rank 0 makes and removes and all ranks see.
class SharedDirectory {
 public:
  explicit SharedDirectory(train::Communicator& world) : world_(world) {
    if (world.rank() == 0) own_ = std::make_unique<train::test::ScratchDirectory>();
    path_ = train::first_said(world, own_ ? own_->path().string() : "");
  }
  /// Gone only when nobody needs it any more.
  ~SharedDirectory() {
    if (std::uncaught_exceptions() == 0) world_.barrier().wait();
  }
  SharedDirectory(const SharedDirectory&) = delete;
  SharedDirectory& operator=(const SharedDirectory&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  train::Communicator& world_;
  std::unique_ptr<train::test::ScratchDirectory> own_;
  std::filesystem::path path_;
};

struct Case {
  int data = 1;
  int tensor = 1;
  train::Zero zero = train::Zero::stage0;
  train::DataType type = train::DataType::f32;
  bool llama = false;
  std::uint64_t seed = 1;

  std::string name() const {
    return fmt::format("{}x{} zero {} {}", data, tensor, static_cast<int>(zero),
                       train::name_of(type));
  }
};

inline train::GptConfig config_of(const Case& of) {
  // Heads for three tensor ranks; sizes that do not divide.
  train::GptConfig config =
      train::parse_model(of.llama ? "llama,layers=2,heads=6,kv_heads=3,width=24,hidden=25,context=8"
                                  : "layers=2,heads=3,width=24,hidden=40,context=8");
  config.vocabulary = 37;
  return config;
}

/// A model and its optimizer on the ranks of a group.
struct Training {
  Training(train::Communicator& group, const Case& of)
      : grid(group, {.data = of.data, .tensor = of.tensor}, train::make_cpu_device(1)),
        model(config_of(of), grid.device(), {of.type, of.seed}),
        optimizer((train::parallelize(model, grid, train::megatron_plan()), model), grid,
                  {.lr = 1e-2f}, {.zero = of.zero, .bucket_bytes = 4096, .resident_elements = 20}) {
  }

  void train(int steps) {
    train::TokenDataset data(std::make_shared<training::PatternSource>(4000, 32), {});
    train::TrainerOptions options;
    options.steps = steps;
    options.batch = 12;
    options.measure_mfu = false;
    train::Trainer(grid, model, optimizer, data, options).run();
  }

  train::Grid grid;
  train::Gpt model;
  train::ShardedOptimizer optimizer;
};

}  // namespace checkpoints

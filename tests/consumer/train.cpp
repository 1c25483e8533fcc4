// A user's own program: trains two steps and prints "ok" when the loss is a number.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <libtrain/train.hpp>

namespace {

class LastLoss final : public train::MetricsSink {
 public:
  explicit LastLoss(double& loss) : loss_(loss) {}
  void write(const train::StepRecord& record) override { loss_ = record.loss; }

 private:
  double& loss_;
};

int two_steps(train::Job& job) {
  const auto text = std::filesystem::temp_directory_path() / "libtrain_consumer.txt";
  std::ofstream(text) << std::string(4000, 'a');
  train::Grid grid = job.grid({.threads = 1});
  train::TokenDataset data(text.string(), {.context = 16});
  train::Gpt model(train::parse_model("layers=1,heads=2,width=16"), grid.device());
  train::ShardedOptimizer optimizer(model, grid, train::AdamW{.lr = 1e-2f});
  train::Trainer trainer(grid, model, optimizer, data, {.steps = 2, .batch = 2});
  double loss = std::nan("");
  if (job.is_root()) trainer.add_sink(std::make_unique<LastLoss>(loss));
  trainer.run();
  std::filesystem::remove(text);
  if (!std::isfinite(loss)) return 1;
  std::puts("ok");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return train::run(argc, argv, two_steps);
}

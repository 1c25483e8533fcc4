// Says how the ranks of a cluster should share a model, before any of them is rented.
//
//   build/bin/plan_grid --model llama-8b --batch 256 --context 8192 --dtype bf16 --device cuda
//          --ranks 16 --ranks-per-node 8 --memory 80GB --device-tflops 989
//
// Prints the plans that fit, the one to take, and the flags of train_gpt for it; `--help` lists its
// own.

#include <fmt/format.h>

#include "collectives/standard_streams.hpp"
#include "examples/gpt/plan_report.hpp"

namespace {

int plan_grid(train::Job& job) {
  PlanArguments arguments;
  if (const auto status = parse_plan_arguments(job, arguments)) return *status;
  const train::GridChoice choice = train::choose_grid(arguments.question);
  if (!job.is_root()) return 0;
  if (arguments.json) {
    fmt::print("{}\n", json_of(arguments, choice));
  } else if (!choice.plans.empty()) {
    fmt::print("{}", text_of(arguments, choice));
  }
  train::flush_standard_output();
  if (!choice.plans.empty()) return 0;
  if (!arguments.json) train::log_line("plan_grid: " + what_would_fit(arguments, choice));
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  return train::run(argc, argv, plan_grid);
}

// Trains a GPT on text or token shards.
//
//   mpirun -np 2 build/bin/train_gpt --data text.txt --model nano --steps 500 --batch 16
//          --save-weights model.safetensors
//   mpirun -np 2 build/bin/train_gpt … --checkpoint runs/a --save-every 100 --resume
//
// Shows a line with step, loss, tokens/s and the time left; `--help` lists the flags.

#include <filesystem>

#include <fmt/format.h>

#include "examples/gpt/arguments.hpp"
#include "examples/gpt/checkpoint_arguments.hpp"
#include "examples/gpt/model_choice.hpp"
#include "examples/gpt/sample_text.hpp"
#include "examples/gpt/shape_arguments.hpp"
#include "examples/gpt/starting_weights.hpp"
#include "examples/gpt/train_arguments.hpp"
#include "examples/gpt/train_reports.hpp"

namespace {

train::TokenDataset open_dataset(const TrainArguments& arguments,
                                 const std::shared_ptr<const train::Tokenizer>& saved) {
  train::TokenDatasetOptions options;
  options.context = static_cast<std::size_t>(arguments.context);
  options.seed = arguments.seed;
  if (arguments.validation_fraction >= 0.0) {
    options.validation_fraction = arguments.validation_fraction;
  }
  options.validation = arguments.validation_data;
  options.tokenizer = arguments.tokenizer;
  // A model goes on with the tokenizer it was trained with.
  if (saved != nullptr && arguments.tokenizer.empty()) {
    return train::TokenDataset(train::open_data(arguments.data, saved), options);
  }
  return train::TokenDataset(arguments.data, options);
}

// A run must not find out at its end that its weights cannot be written.
void check_writable(const std::string& path) {
  if (path.empty()) return;
  std::error_code none;
  if (std::filesystem::is_directory(path, none)) {
    throw train::Error(fmt::format("--save-weights {}: is a directory; name a file in it", path));
  }
  train::AtomicFile{path};
}

// What clusters must have in common beside what the rounds know themselves. Dropout is a cluster's
// own matter.
std::string agreement_of(const TrainArguments& arguments, train::GptConfig config,
                         const train::TokenDataset& data) {
  config.dropout = 0.0f;
  return fmt::format("{} seed {} data {}, held out {}", config.to_json(), arguments.seed,
                     data.identity(), data.held_out());
}

// This cluster's part in a job of several; it lives as long as the trainer runs.
std::unique_ptr<train::Rounds> join_job(const TrainArguments& arguments, const train::Grid& grid,
                                        train::ShardedOptimizer& optimizer,
                                        const std::string& agreement,
                                        const train::StopSignal& signal, const Say& say) {
  if (!arguments.in_job()) return nullptr;
  train::JobOptions job = arguments.job;
  job.agreement = agreement;
  job.leaves = [&signal] { return signal.received(); };
  job.on_log = [say, rank = grid.rank()](const std::string& line) {
    say(fmt::format("rank {}: {}", rank, line));
  };
  return std::make_unique<train::Rounds>(grid, optimizer, arguments.rounds, std::move(job));
}

train::ChoiceAccuracy choices_of(const TrainArguments& arguments, const train::GptConfig& config) {
  auto questions = train::read_choice_questions(arguments.eval_choices);
  const auto wanted = static_cast<std::size_t>(arguments.eval_questions);
  if (wanted > 0 && wanted < questions.size()) questions.resize(wanted);
  return {std::move(questions), config};
}

train::Clock::time_point end_of_time(const TrainArguments& arguments) {
  constexpr double year = 366.0 * 24.0 * 60.0;
  if (arguments.stop_after_minutes <= 0.0 || arguments.stop_after_minutes > year)
    return train::Clock::time_point::max();
  const std::chrono::duration<double, std::ratio<60>> minutes(arguments.stop_after_minutes);
  return train::Clock::now() + std::chrono::duration_cast<train::Clock::duration>(minutes);
}

std::string stop_notice(const TrainArguments& arguments, std::int64_t step) {
  return fmt::format("stopped, as asked, after step {} of {}{}", step, arguments.trainer.steps,
                     arguments.checkpoint.empty() ? "" : "; --resume goes on from there");
}

// Whether the same command, started again, would train further.
bool ended_early(const train::Trainer& trainer, const train::Rounds* rounds) {
  if (rounds == nullptr) return trainer.stopped();
  return !rounds->finished() && !rounds->budget_spent() && !rounds->too_late();
}

int train_gpt(train::Job& job) {
  TrainArguments arguments;
  if (const auto status = parse_train_arguments(job, arguments)) return *status;
  // First of all: notice may come while data and weights are read.
  const train::StopSignal signal;
  job.world().set_timeout(std::chrono::seconds(arguments.timeout_s));
  const train::Grid grid = job.grid(arguments.grid);

  const auto store = open_store(arguments);
  const auto point = find_run(store.get(), arguments, grid.world());
  if (point) go_on_with(*point, arguments);
  const auto run = point ? std::optional(point->run) : std::nullopt;
  std::optional<StartingWeights> start;
  if (!run && !arguments.init.empty()) start.emplace(arguments.init);
  const train::MappedFileFault fault;
  train::TokenDataset data = open_dataset(arguments, saved_tokenizer(start, run));
  const train::GptConfig config = choose_config(arguments, data, start, run);
  warn_of_memory(job, arguments, config, grid);

  train::Gpt model(
      config, grid.device(),
      {parse_dtype(arguments.dtype), arguments.seed, train::recompute_from(arguments.recompute)});
  train::parallelize(model, grid, train::megatron_plan(arguments.sequence_parallel));
  if (start) start->load(model);
  train::ShardedOptimizer optimizer(model, grid, arguments.adamw, optimizer_options(arguments));
  train::Trainer trainer(grid, model, optimizer, data, arguments.trainer);
  if (!arguments.eval_choices.empty()) trainer.set_choices(choices_of(arguments, config));
  const Say say = add_console(arguments, grid, trainer);
  trainer.stop_when([&signal, over = end_of_time(arguments)] {
    return signal.received() || train::Clock::now() >= over;
  });
  const auto rounds =
      join_job(arguments, grid, optimizer, agreement_of(arguments, config, data), signal, say);
  const auto checkpoints = attach_checkpoints(arguments, store.get(), point, grid, optimizer,
                                              {.config = config,
                                               .tokenizer = data.tokenizer(),
                                               .seed = arguments.seed,
                                               .data = data.identity(),
                                               .held_out = data.held_out(),
                                               .more = {}},
                                              rounds.get(), trainer, say);
  if (rounds) trainer.set_rounds(*rounds);
  if (job.is_root()) check_writable(arguments.save_weights);
  announce(job, arguments, model, data, grid.device());
  // A cluster hears from its job where that stands, and may have been there before.
  add_metrics(arguments, grid, point.has_value() || rounds != nullptr, say, trainer);
  add_samples(arguments, grid, model, data, say, trainer);
  if (!arguments.trace.empty()) {
    trainer.add_trace(std::make_unique<train::Trace>(grid.world(), arguments.trace),
                      arguments.trace_steps);
  }
  train::reset_memory_peaks(grid.device());
  trainer.run();
  if (rounds && job.is_root()) train::log_line(rounds->ending());
  if (rounds && rounds->egress() != nullptr) {
    train::log_line("egress: " + rounds->egress()->summary());
  }
  if (trainer.stopped() && job.is_root())
    train::log_line(stop_notice(arguments, optimizer.steps_done()));
  if (!arguments.save_weights.empty()) {
    train::save_weights(arguments.save_weights, config, optimizer.parameters(), grid.world(),
                        data.tokenizer().get());
  }
  if (arguments.report_memory) report_memory(grid);
  return ended_early(trainer, rounds.get()) ? arguments.stopped_status : 0;
}

}  // namespace

int main(int argc, char** argv) {
  return train::run(argc, argv, train_gpt);
}

#include "examples/gpt/train_reports.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>

#include <fmt/format.h>

#include "collectives/standard_streams.hpp"
#include "examples/gpt/shape_arguments.hpp"
#include "libtrain/data/file_patterns.hpp"
#include "libtrain/data/source_patterns.hpp"

namespace {

// Of the lanes of this node, whose ranks follow each other unless mpirun was told otherwise. How
// many clusters there will be nobody knows: at least two, of whom each sums half.
std::int64_t lane_bytes(const train::Job& job, const TrainArguments& arguments,
                        const train::GptConfig& config) {
  if (!arguments.in_job()) return 0;
  const int lanes = arguments.rounds.lanes;
  const std::int64_t each =
      train::forecast_lanes(config, {.rounds = arguments.rounds, .ranks = job.size()}).peak();
  std::int64_t bytes = 0;
  for (int lane = 0; lane < lanes; ++lane) {
    const int place = train::rank_of_lane(lane, lanes, job.size()) - job.rank();
    if (place >= 0 && place < job.ranks_on_node()) bytes += each + each / 8;  // rounded up
  }
  return bytes;
}

}  // namespace

void warn_of_memory(const train::Job& job, const TrainArguments& arguments,
                    const train::GptConfig& config, const train::Grid& grid) {
  const std::int64_t lanes = lane_bytes(job, arguments, config);  // the same errors on all ranks
  if (job.place_on_node().rank != 0) return;
  train::MemoryForecast each;  // where there are GPUs, the host has lanes alone
  if (!grid.device().gpu()) {
    each = train::forecast_memory(training_shape(arguments, config, grid.shape()));
  }
  const int ranks = job.ranks_on_node();
  const std::int64_t needed = each.total() * ranks + lanes;
  const auto available = train::available_host_bytes();
  if (!available || needed <= *available) return;
  const auto gib = [](std::int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); };
  if (grid.device().gpu()) {
    train::log_line(
        fmt::format("warning: lanes to other clusters will take {:.1f} GiB of this machine's "
                    "memory, of {:.1f} that are left; more --lanes share it",
                    gib(needed), gib(*available)));
    return;
  }
  train::log_line(fmt::format(
      "warning: training will take {:.1f} GiB on this machine's {}, of {:.1f} that are left "
      "({:.1f} for parameters, gradients and optimizer state{}); plan_grid chooses how ranks share "
      "them",
      gib(needed), ranks == 1 ? "rank" : fmt::format("{} ranks", ranks), gib(*available),
      gib(each.state() * ranks),
      lanes == 0 ? "" : fmt::format(", {:.1f} for lanes to other clusters", gib(lanes))));
}

namespace {

// What each source of a mixture gives, and how often a run reads it.
void announce_mixture(const TrainArguments& arguments, const train::TokenDataset& data) {
  const auto sources = data.training();
  const auto held_out = data.validation();
  const auto& trainer = arguments.trainer;
  for (std::size_t i = 0; sources.size() > 1 && i < sources.size(); ++i) {
    const auto samples =
        static_cast<std::uint64_t>(trainer.steps) * static_cast<std::uint64_t>(trainer.batch);
    fmt::print("  {}: {:.4g} of the samples, {} tokens, {:.3g} epochs in {} steps{}\n",
               sources[i].name, sources[i].share, sources[i].tokens, data.epochs_of(i, samples),
               trainer.steps, arguments.in_job() ? " of this cluster" : "");
  }
  for (std::size_t i = 0; held_out.size() > 1 && i < held_out.size(); ++i) {
    fmt::print("  held out of {}: {:.4g} of the loss, {} tokens\n", held_out[i].name,
               held_out[i].share, held_out[i].tokens);
  }
  const bool of_all = held_out.empty() || held_out.size() == sources.size();
  if (of_all || !arguments.validation_data.empty()) return;
  fmt::print(
      "note: some sources hold nothing out, and val_loss is that of the others: "
      "--val-fraction or --val-data change that\n");
}

// Under one name each.
std::set<std::filesystem::path> files_of(const std::vector<std::string>& patterns) {
  std::set<std::filesystem::path> files;
  for (const train::SourcePatterns& source : train::split_sources(patterns)) {
    for (const std::string& file : train::find_files(source.patterns)) {
      files.insert(train::file_identity(file));
    }
  }
  return files;
}

// 'shards/*.bin' are also those that 'shards/val_*.bin' are.
void warn_of_validation_data(const TrainArguments& arguments) {
  if (arguments.validation_data.empty()) return;
  const auto trained = files_of(arguments.data);
  const auto held_out = files_of(arguments.validation_data);
  const auto both =
      std::ranges::find_if(held_out, [&](const auto& x) { return trained.contains(x); });
  if (both == held_out.end()) return;
  train::log_line(
      fmt::format("warning: --data has {} of --val-data as well: val_loss is that of text that the "
                  "model is trained on",
                  both->string()));
}

}  // namespace

void announce(const train::Job& job, const TrainArguments& arguments, const train::Gpt& model,
              const train::TokenDataset& data, const train::Device& device) {
  if (!job.is_root() || arguments.progress == "none") return;
  const train::GptConfig& config = model.config();
  fmt::print(
      "model: {:.2f} M parameters, {} layers of width {}, {} heads, vocabulary {}, context {}, "
      "{}\n",
      static_cast<double>(config.parameter_count()) / 1e6, config.layers, config.width,
      config.heads, config.vocabulary, data.context(), arguments.dtype);
  fmt::print("data: {} tokens to train on, {} held out\n", data.train_tokens(),
             data.validation_tokens());
  announce_mixture(arguments, data);
  if (data.unmarked_texts() > 0) {
    fmt::print("note: {} texts follow each other without a mark: the tokenizer {} has none\n",
               data.unmarked_texts(), data.tokenizer()->name());
  }
  if (data.empty_texts() > 0) {
    fmt::print("note: empty files are left out: {}\n", data.empty_texts());
  }
  fmt::print("{} on {}\n", job.size() == 1 ? "1 rank" : fmt::format("{} ranks, each", job.size()),
             device.ops().description());
  std::fflush(stdout);
  warn_of_validation_data(arguments);
  if (data.validation_tokens() == 0 && arguments.trainer.eval_every > 0) {
    train::log_line("warning: --eval-every: nothing is held out; give --val-data or more data");
  }
}

Say add_console(const TrainArguments& arguments, const train::Grid& grid, train::Trainer& trainer) {
  if (grid.rank() != 0) return train::log_line;
  train::ConsoleOptions options;
  options.progress = train::progress_from(arguments.progress);
  options.steps_total = arguments.trainer.steps;
  auto console = std::make_unique<train::ConsoleSink>(options);
  train::ConsoleSink* shown = console.get();
  trainer.add_sink(std::move(console));
  if (!shown->live()) return train::log_line;
  return [shown](const std::string& line) { shown->print(line); };
}

void add_metrics(const TrainArguments& arguments, const train::Grid& grid, bool goes_on,
                 const Say& say, train::Trainer& trainer) {
  if (grid.rank() != 0) return;
  const auto add = [&](std::unique_ptr<train::MetricsSink> sink) {
    trainer.add_sink(std::make_unique<train::PatientSink>(
        std::move(sink), [say](const std::string& what) { say("warning: " + what); }));
  };
  if (!arguments.metrics.empty()) {
    add(std::make_unique<train::JsonlSink>(arguments.metrics, goes_on));
  }
  if (!arguments.tensorboard.empty()) {
    add(std::make_unique<train::TensorBoardSink>(arguments.tensorboard, goes_on));
  }
}

void report_memory(const train::Grid& grid) {
  const std::string report = train::memory_report(grid.device(), grid.world());
  if (grid.rank() != 0) return;
  fmt::print("{}", report);
  train::flush_standard_output();
}

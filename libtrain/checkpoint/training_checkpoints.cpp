#include "libtrain/checkpoint/training_checkpoints.hpp"

#include <fmt/format.h>

namespace train {

std::optional<RunState> saved_run(const CheckpointStore& store, Communicator& world) {
  SaveGroup group(world);
  std::string extra, failures, directory;
  group.together([&] {
    if (world.rank() != 0) return;
    for (const auto& entry : store.newest_first()) {
      try {
        extra = CheckpointReader(entry.directory).extra();
        directory = entry.directory.string();
        return;
      } catch (const Error& error) {
        failures += fmt::format("{}{}", failures.empty() ? "" : "; ", error.what());
      }
    }
    if (!failures.empty()) {
      throw Error(
          fmt::format("no checkpoint in {} can be read: {}", store.directory().string(), failures));
    }
  });
  extra = group.said_by(0, extra);
  if (extra.empty()) return std::nullopt;
  return RunState::from_json(extra, group.said_by(0, directory));
}

TrainingCheckpoints::TrainingCheckpoints(CheckpointStore& store, Communicator& world,
                                         ShardedOptimizer& optimizer, RunState run,
                                         std::int64_t save_every, CheckpointSaver::OnEvent on_event)
    : store_(store),
      world_(world),
      optimizer_(optimizer),
      run_(std::move(run)),
      save_every_(save_every),
      saver_(store, world, std::move(on_event)) {}

std::optional<std::uint64_t> TrainingCheckpoints::resume(
    const std::function<void(const std::string&)>& warn) {
  std::uint64_t sequences = 0;
  const auto load = [&](CheckpointReader& checkpoint) {
    const RunState run = RunState::from_json(checkpoint.extra(), checkpoint.directory());
    load_training_state(checkpoint, optimizer_, world_.rank());
    if (extra_.load) extra_.load(checkpoint, run);
    sequences = run.sequences;
  };
  if (store_.load_newest(world_, load, {.fall_back = true, .warn = warn}).empty()) {
    return std::nullopt;
  }
  optimizer_.publish_full_precision();
  return sequences;
}

void TrainingCheckpoints::after_step(std::uint64_t sequences, bool last) {
  saver_.poll();
  const bool due = save_every_ > 0 && optimizer_.steps_done() % save_every_ == 0;
  if (!due && !last) return;
  run_.sequences = sequences;
  CheckpointContents contents = training_state(optimizer_);
  if (extra_.add) extra_.add(contents, run_);
  contents.extra = run_.to_json();
  saver_.request(std::move(contents));
}

}  // namespace train

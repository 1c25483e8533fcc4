#include "examples/gpt/checkpoint_arguments.hpp"

#include <fmt/format.h>

namespace {

std::string describe(const train::SaveEvent& event) {
  using Kind = train::SaveEvent::Kind;
  switch (event.kind) {
    case Kind::requested:
      return fmt::format("checkpoint of step {}: requested", event.step);
    case Kind::durable:
      return fmt::format("checkpoint of step {}: durable in {} ({:.1f} MB after {:.2f} s)",
                         event.step, event.directory.string(),
                         static_cast<double>(event.bytes) / 1e6, event.seconds);
    case Kind::failed:
      return "warning: " + event.message;
    case Kind::warning:
      return fmt::format("warning: checkpoint of step {}: {}", event.step, event.message);
    case Kind::set_aside:
      return fmt::format("checkpoints of later steps than {} are in {} now", event.step,
                         event.directory.string());
  }
  train::unreachable("unknown SaveEvent::Kind");
}

// The checkpoints that a run goes on with, in words.
std::string named(const TrainArguments& arguments, const train::ResumePoint& point) {
  return point.checkpoint.empty() ? arguments.checkpoint : point.checkpoint.string();
}

std::string goes_on(const TrainArguments& arguments, const std::string& from, std::int64_t step) {
  const auto& trainer = arguments.trainer;
  const std::int64_t last = trainer.stop_at > 0 ? trainer.stop_at : trainer.steps;
  std::string line = fmt::format("goes on after step {} of {}", step, from);
  if (from == arguments.checkpoint && !arguments.resume_from.empty()) {
    line += fmt::format(", which began with --resume-from {}", arguments.resume_from);
  }
  if (!arguments.init.empty()) line += fmt::format("; --init {} is not read", arguments.init);
  if (step < last || arguments.in_job()) return line;
  return line + fmt::format(": nothing to train, {} ends at step {}",
                            trainer.stop_at > 0 ? "--stop-at" : "--steps", last);
}

// A run that begins with another's checkpoint is one of its own: its egress counts from nothing,
// and who has a budget for both is told.
std::string egress_elsewhere(const TrainArguments& arguments, const train::ResumePoint& point) {
  const train::EgressOptions& egress = arguments.job.egress;
  if (point.own || !arguments.in_job() || !egress.has_price()) return "";
  const auto ledger = std::filesystem::absolute(point.checkpoint).lexically_normal().parent_path() /
                      egress.ledger.filename();
  std::error_code none;
  if (!std::filesystem::exists(ledger, none) || std::filesystem::exists(egress.ledger, none)) {
    return "";
  }
  return fmt::format(
      "egress is counted anew: what is in {} was spent by the run that this one begins "
      "with, and is no part of its --egress-budget",
      ledger.string());
}

// "" where a run's evaluations go on as they were.
std::string held_out_elsewhere(const train::RunState& before, const train::RunState& now) {
  if (before.held_out.empty() || before.held_out == now.held_out) return "";
  return fmt::format("warning: val_loss is of other data than before: {} were held out, and now {}",
                     before.held_out, now.held_out);
}

// Where a job is in its data: what it has begun with, and what it has trained.
train::DataPlace place_of(const train::Rounds& rounds, std::int64_t context) {
  const train::wide::Position& position = rounds.state().position;
  const std::uint64_t trained = position.next - position.holes.size();
  return {position.next, trained * static_cast<std::uint64_t>(context)};
}

// Where a run that was loaded goes on in these data.
train::DataPlace place_in(const std::string& data, const train::RunState& run,
                          const std::string& from, const TrainArguments& arguments) {
  if (run.data == data) return run.place;
  if (arguments.new_data) return {0, run.place.tokens};
  throw train::Error(fmt::format(
      "the run in {} reads {}, but --data and the flags beside it are {}: its place in the order "
      "of samples means nothing there. Give it the same data{}",
      from, run.data, data,
      arguments.in_job() ? "" : ", or add --new-data to go on at the beginning of these"));
}

void go_on_from(const train::ResumePoint& point, const TrainArguments& arguments,
                const std::string& data, train::TrainingCheckpoints& checkpoints,
                train::Trainer& trainer, const Say& say) {
  const std::string from = named(arguments, point);
  if (point.checkpoint.empty()) {
    const auto loaded = checkpoints.resume([&](const auto& what) { say("warning: " + what); });
    if (loaded) trainer.resume_at(place_in(data, *loaded, from, arguments));
    return;
  }
  trainer.resume_at(place_in(data, point.run, from, arguments));
  checkpoints.resume_from(point);
}

}  // namespace

std::unique_ptr<train::CheckpointStore> open_store(const TrainArguments& arguments) {
  if (arguments.checkpoint.empty()) return nullptr;
  return std::make_unique<train::CheckpointStore>(
      arguments.checkpoint,
      train::StoreOptions{.layout = train::checkpoint_layout_from(arguments.checkpoint_layout),
                          .keep = arguments.keep,
                          .keep_every = arguments.keep_every});
}

std::optional<train::ResumePoint> find_run(const train::CheckpointStore* store,
                                           const TrainArguments& arguments,
                                           train::Communicator& world) {
  if (store == nullptr) return std::nullopt;
  auto point = train::find_resume_point(
      *store, world, {.from = arguments.resume_from, .or_newest = arguments.resume});
  if (point && !arguments.goes_on()) {
    throw train::Error(
        fmt::format("{} holds checkpoints of a run: add --resume to go on with it, or choose "
                    "another --checkpoint",
                    arguments.checkpoint));
  }
  return point;
}

void go_on_with(const train::ResumePoint& point, TrainArguments& arguments) {
  const train::RunState& run = point.run;
  if (arguments.seed_given && arguments.seed != run.seed) {
    throw train::Error(
        fmt::format("--seed {}: the run in {} was begun with --seed {}; its data "
                    "are read in that order",
                    arguments.seed, named(arguments, point), run.seed));
  }
  arguments.seed = run.seed;
  if (!arguments.dropout_given) arguments.dropout = run.config.dropout;
}

train::CheckpointSaver::OnEvent checkpoint_log(const TrainArguments& arguments, int rank,
                                               const Say& say) {
  return [rank, say, quiet = arguments.progress == "none"](const train::SaveEvent& event) {
    using Kind = train::SaveEvent::Kind;
    const bool usual = event.kind == Kind::requested || event.kind == Kind::durable;
    if (rank == 0 && !(usual && quiet)) say(describe(event));
  };
}

std::unique_ptr<train::TrainingCheckpoints> attach_checkpoints(
    const TrainArguments& arguments, train::CheckpointStore* store,
    const std::optional<train::ResumePoint>& point, const train::Grid& grid,
    train::ShardedOptimizer& optimizer, const train::RunState& run, train::Rounds* rounds,
    train::Trainer& trainer, const Say& say) {
  if (store == nullptr) return nullptr;
  auto checkpoints = std::make_unique<train::TrainingCheckpoints>(
      *store, grid.world(), optimizer, run, arguments.save_every,
      checkpoint_log(arguments, grid.rank(), say));
  if (rounds != nullptr) {
    checkpoints->set_job(
        {.step = [rounds] { return rounds->steps_committed(); },
         .place = [rounds, context = trainer.context()] { return place_of(*rounds, context); },
         .tensors = [rounds] { return rounds->outer_tensors(); },
         .describe = [rounds] { return rounds->outer_state(); },
         .tensors_to_load = [rounds] { return rounds->outer_tensors_to_load(); },
         .resume = [rounds](const std::string& described) { rounds->resume(described); }});
  }
  trainer.set_checkpoints(*checkpoints);
  if (point) go_on_from(*point, arguments, run.data, *checkpoints, trainer, say);
  if (point && grid.rank() == 0 && arguments.progress != "none") {
    say(goes_on(arguments, named(arguments, *point), optimizer.steps_done()));
  }
  if (point && grid.rank() == 0) {
    for (const auto& line :
         {egress_elsewhere(arguments, *point), held_out_elsewhere(point->run, run)}) {
      if (!line.empty()) say(line);
    }
  }
  return checkpoints;
}

#include "libtrain/checkpoint/training_checkpoints.hpp"

#include <fmt/format.h>

namespace train {

TrainingCheckpoints::TrainingCheckpoints(CheckpointStore& store, Communicator& world,
                                         ShardedOptimizer& optimizer, RunState run,
                                         std::int64_t save_every, CheckpointSaver::OnEvent on_event)
    : store_(store),
      world_(world),
      optimizer_(optimizer),
      run_(std::move(run)),
      save_every_(save_every),
      on_event_(on_event),
      saver_(store, world, std::move(on_event)) {}

std::optional<RunState> TrainingCheckpoints::resume(
    const std::function<void(const std::string&)>& warn) {
  auto run = load({.fall_back = true, .warn = warn});
  if (!run) return std::nullopt;
  run_.resumed_from = run->resumed_from;
  if (run_.resumed_from && run_.resumed_from->run.empty()) store_.hold(run_.resumed_from->step);
  return run;
}

void TrainingCheckpoints::resume_from(const ResumePoint& point) {
  // Under its name: a save that was killed may have left it under another.
  const auto from = point.own ? store_.directory() / checkpoint_name(point.step) : point.checkpoint;
  load({.only = from});
  run_.resumed_from = {point.step, point.own ? "" : from.parent_path().string()};
  if (!point.own) return;
  store_.hold(point.step);
  went_back_to_ = point.step;
}

void TrainingCheckpoints::set_aside_later() {
  if (!went_back_to_) return;
  const auto aside = store_.set_aside_after(world_, *went_back_to_);
  if (!aside.empty() && on_event_) {
    on_event_({.kind = SaveEvent::Kind::set_aside,
               .step = *went_back_to_,
               .directory = aside,
               .message = {}});
  }
  went_back_to_.reset();
}

std::optional<RunState> TrainingCheckpoints::load(const CheckpointStore::LoadOptions& options) {
  const auto extra =
      job_ ? load_job(options) : resume_training(store_, world_, optimizer_, options);
  if (!extra) return std::nullopt;
  return RunState::from_json(*extra, store_.directory());
}

std::optional<std::string> TrainingCheckpoints::load_job(
    const CheckpointStore::LoadOptions& options) {
  std::vector<LogicalTensor> outer;  // made once there is something to load into them
  std::string extra;
  std::string described;
  const auto loaded = store_.load(
      world_,
      [&](CheckpointReader& checkpoint) {
        extra = checkpoint.extra();
        const RunState run = RunState::from_json(extra, checkpoint.directory());
        const auto state = run.more.find(job_key);
        if (state == run.more.end()) {
          throw Error(fmt::format(
              "{} is of a run on one cluster: start a job from its parameters with --init",
              checkpoint.directory().string()));
        }
        described = state->second;
        load_training_state(checkpoint, optimizer_, world_.rank());
        if (outer.empty()) outer = job_->tensors_to_load();
        for (const LogicalTensor& tensor : outer) {
          checkpoint.load(outer_part, tensor, world_.rank());
        }
      },
      options);
  if (loaded.empty()) return std::nullopt;
  optimizer_.publish_full_precision();
  job_->resume(described);
  saved_step_ = job_->step();
  return extra;
}

// The first exchange past a multiple of save_every, and what the job has at its end.
bool TrainingCheckpoints::job_is_due(bool last) const {
  const std::int64_t step = job_->step();
  if (step <= saved_step_) return false;
  return last || (save_every_ > 0 && step / save_every_ > saved_step_ / save_every_);
}

bool TrainingCheckpoints::is_due(bool last) const {
  if (job_) return job_is_due(last);
  return last || (save_every_ > 0 && optimizer_.steps_done() % save_every_ == 0);
}

void TrainingCheckpoints::after_step(const DataPlace& place, bool last) {
  saver_.poll();
  set_aside_later();
  if (!is_due(last)) return;
  run_.place = job_ ? job_->place() : place;
  CheckpointContents contents = training_state(optimizer_);
  if (job_) {
    contents.step = saved_step_ = job_->step();
    contents.parts.push_back({outer_part, job_->tensors()});
    run_.more[job_key] = job_->describe();
  }
  contents.extra = run_.to_json();
  saver_.request(std::move(contents));
}

}  // namespace train

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libtrain/checkpoint/resume_point.hpp"
#include "libtrain/checkpoint/saver.hpp"
#include "libtrain/checkpoint/training_state.hpp"

namespace train {

/// What a cluster of a job of several adds to its checkpoints, which are of the job's exchanges.
/// Any one cluster's checkpoint restarts the whole job.
struct JobState {
  std::function<std::int64_t()> step;                   ///< of the schedule, at the last exchange
  std::function<DataPlace()> place;                     ///< that the job has reached, likewise
  std::function<std::vector<LogicalTensor>()> tensors;  ///< the outer state: it does not change
  std::function<std::string()> describe;                ///< which state that is: JSON
  std::function<std::vector<LogicalTensor>()> tensors_to_load;  ///< the same, to be filled
  /// Goes on from what they were filled with. Collective.
  std::function<void(const std::string& described)> resume;
};

inline constexpr const char* job_key = "job";  ///< of what describe() says, in RunState::more

/// Saves a run between its steps, as the trainer asks.
class TrainingCheckpoints {
 public:
  /// `run` is what all checkpoints of this run say alike. Saves every `save_every` steps (0: never)
  /// and after the last one. Collective; everything passed must outlive this.
  TrainingCheckpoints(CheckpointStore& store, Communicator& world, ShardedOptimizer& optimizer,
                      RunState run, std::int64_t save_every, CheckpointSaver::OnEvent on_event);

  /// Before either of the next two.
  void set_job(JobState job) { job_ = std::move(job); }
  /// Goes on from the store's newest checkpoint that is whole; `warn` hears of those that are not
  /// (rank 0). Returns the run as it was then; nothing when the store holds none.
  /// Collective; throws Error on every rank when there are checkpoints and none loads.
  std::optional<RunState> resume(const std::function<void(const std::string&)>& warn);
  /// Goes on from the checkpoint that a point names, and from no other. Of its own store's, it is
  /// held from then on, and later ones are set aside once a step has been trained from it: a run
  /// that is refused before leaves the store as it was. Collective; throws Error on every rank when
  /// it does not load.
  void resume_from(const ResumePoint& point);

  /// Before parameters or the optimizer's state change.
  void before_update() { saver_.before_change(); }
  /// Whether after_step() will save.
  bool is_due(bool last) const;
  /// Between two steps, with what was read so far. Collective.
  void after_step(const DataPlace& place, bool last);
  /// Returns when everything is durable; throws Error when the last save has failed. Collective.
  void finish() { saver_.finish(); }

 private:
  std::optional<RunState> load(const CheckpointStore::LoadOptions& options);
  std::optional<std::string> load_job(const CheckpointStore::LoadOptions& options);
  void set_aside_later();
  bool job_is_due(bool last) const;

  CheckpointStore& store_;
  Communicator& world_;
  ShardedOptimizer& optimizer_;
  RunState run_;
  std::int64_t save_every_;
  std::optional<JobState> job_;
  std::int64_t saved_step_ = 0;               // in a job
  std::optional<std::int64_t> went_back_to_;  // while later checkpoints are where they were
  CheckpointSaver::OnEvent on_event_;
  CheckpointSaver saver_;
};

}  // namespace train

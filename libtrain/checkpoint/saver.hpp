#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "libtrain/checkpoint/store.hpp"

namespace train {

/// What happens to a save. Events reach the callback on the thread that trains, from the saver's
/// calls.
struct SaveEvent {
  enum class Kind : std::uint8_t {
    requested,  ///< training goes on
    durable,    ///< the checkpoint is on the disk under its name
    failed,     ///< nothing of it remains; the one before stays
    warning,    ///< durable, but something beside it went wrong
    set_aside,  ///< none of it was saved: those of later steps than this one have moved
  };
  Kind kind = Kind::requested;
  std::int64_t step = 0;
  std::filesystem::path directory;  ///< durable, set_aside
  std::uint64_t bytes = 0;          ///< durable: of tensors, all ranks
  double seconds = 0.0;  ///< requested: that training stood still; durable: since the request
  std::string message;   ///< failed, warning
};

struct SaverOptions {
  /// So many failed saves in a row are an Error.
  int failures_max = 3;
  /// How long ranks wait for each other's disks.
  std::chrono::milliseconds timeout = std::chrono::minutes(30);
};

/// Saves in the background, with a thread and a communicator of its own: first it copies the state,
/// then it writes the copy. Between two steps of the optimizer nothing of the state changes, so the
/// copy is made while the next step's passes run; who is about to change it waits in
/// before_change(). Memory: this rank's share of the state, once, kept between saves. One save at a
/// time: a request waits for the one before, so that a disk that is too slow holds training back
/// rather than losing checkpoints.
class CheckpointSaver {
 public:
  using OnEvent = std::function<void(const SaveEvent&)>;

  /// Prepares the store. Collective; store and world must outlive the saver.
  CheckpointSaver(CheckpointStore& store, Communicator& world, OnEvent on_event,
                  SaverOptions options = {});
  /// Waits until what was requested is durable or has failed; while an exception unwinds, gives up.
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// At a step boundary. Collective. Throws Error, the same on every rank, when too many saves in a
  /// row have failed.
  void request(CheckpointContents contents);
  /// Before the tensors that were requested change: returns once they are copied.
  void before_change();
  /// Tells of what has happened meanwhile. Costs nothing; call it at each step.
  void poll();
  /// Waits for what was requested, and throws Error when the last save has failed: nothing will
  /// come after it. Collective.
  void finish();

  /// That training has stood still for saves: waiting for copies, and for the save before.
  double seconds_stalled() const { return seconds_stalled_; }

 private:
  void run();
  void write(SaveGroup& group);
  void copy();
  void wait_for_last();
  void tell(SaveEvent event);

  CheckpointStore& store_;
  OnEvent on_event_;
  SaverOptions options_;
  int rank_;
  int exceptions_;  // under way when this was made
  std::unique_ptr<Communicator> ranks_;
  double seconds_stalled_ = 0.0;

  // The writing thread's while busy_, else the training thread's.
  CheckpointContents contents_;
  CheckpointSnapshot snapshot_;
  std::chrono::steady_clock::time_point requested_;
  int failures_ = 0;  // in a row
  std::string last_failure_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false;
  bool copying_ = false;
  bool stop_ = false;
  std::vector<SaveEvent> events_;
  std::atomic<bool> given_up_{false};
  std::thread thread_;
};

}  // namespace train

#include "libtrain/checkpoint/saver.hpp"

#include <exception>
#include <optional>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

CheckpointSaver::CheckpointSaver(CheckpointStore& store, Communicator& world, OnEvent on_event,
                                 SaverOptions options)
    : store_(store),
      on_event_(std::move(on_event)),
      options_(options),
      rank_(world.rank()),
      exceptions_(std::uncaught_exceptions()) {
  store_.prepare(world);
  ranks_ = world.split(0, rank_, "checkpoint");
  ranks_->set_timeout(options_.timeout);
  thread_ = std::thread([this] { run(); });
}

CheckpointSaver::~CheckpointSaver() {
  if (std::uncaught_exceptions() > exceptions_) given_up_ = true;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void CheckpointSaver::request(CheckpointContents contents) {
  const auto start = std::chrono::steady_clock::now();
  wait_for_last();
  if (failures_ >= options_.failures_max) {
    throw Error(fmt::format("{} checkpoints in a row could not be saved; the last: {}", failures_,
                            last_failure_));
  }
  contents_ = std::move(contents);
  requested_ = std::chrono::steady_clock::now();
  const double stalled = seconds_since(start);
  seconds_stalled_ += stalled;
  // Before the writing thread may tell what came of it.
  tell({.kind = SaveEvent::Kind::requested,
        .step = contents_.step,
        .directory = {},
        .seconds = stalled,
        .message = {}});
  {
    const std::lock_guard lock(mutex_);
    busy_ = copying_ = true;
  }
  changed_.notify_all();
  poll();
}

void CheckpointSaver::before_change() {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  if (!copying_) return;
  changed_.wait(lock, [this] { return !copying_; });
  seconds_stalled_ += seconds_since(start);
}

void CheckpointSaver::poll() {
  std::vector<SaveEvent> events;
  {
    const std::lock_guard lock(mutex_);
    events.swap(events_);
  }
  for (const SaveEvent& event : events) {
    if (on_event_) on_event_(event);
  }
}

void CheckpointSaver::finish() {
  const auto start = std::chrono::steady_clock::now();
  wait_for_last();
  seconds_stalled_ += seconds_since(start);
  if (failures_ > 0) throw Error(last_failure_);
}

void CheckpointSaver::wait_for_last() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !busy_; });
  }
  poll();
}

void CheckpointSaver::tell(SaveEvent event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
}

// Whatever comes of it, the tensors may change afterwards.
void CheckpointSaver::copy() {
  std::exception_ptr failure;
  try {
    snapshot_.take(contents_, rank_);
  } catch (...) {
    failure = std::current_exception();
  }
  contents_.parts.clear();
  {
    const std::lock_guard lock(mutex_);
    copying_ = false;
  }
  changed_.notify_all();
  if (failure) std::rethrow_exception(failure);
}

void CheckpointSaver::run() {
  try {
    // In this order: the communicator goes first, before what its calls may still use.
    std::optional<SaveGroup> group;
    const std::unique_ptr<Communicator> ranks = std::move(ranks_);
    group.emplace(*ranks, &given_up_);
    while (true) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return busy_ || stop_; });
      if (!busy_) return;
      lock.unlock();
      write(*group);
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  } catch (const SaveGivenUp&) {
    // The communicator was destroyed on the way here, and has told the other ranks.
  }
}

void CheckpointSaver::write(SaveGroup& group) {
  SaveEvent event{.step = contents_.step, .directory = {}, .message = {}};
  try {
    group.together([this] { copy(); });
    const SaveReport report = store_.save(group, snapshot_);
    failures_ = 0;
    event.kind = SaveEvent::Kind::durable;
    event.directory = report.directory;
    event.bytes = report.bytes;
    event.seconds = seconds_since(requested_);
    tell(event);
    if (report.warning.empty()) return;
    event.kind = SaveEvent::Kind::warning;
    event.message = report.warning;
  } catch (const SaveGivenUp&) {
    throw;
  } catch (const std::exception& error) {
    // Of any kind, as for want of memory: a save that fails is no reason to end the run.
    ++failures_;
    last_failure_ = error.what();
    event.kind = SaveEvent::Kind::failed;
    event.message = error.what();
  }
  tell(event);
}

}  // namespace train

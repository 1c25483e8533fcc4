#include <utility>

#include <fmt/format.h>

#include "collectives/wide/protocol/journal.hpp"
#include "tests/wide/simulator/world.hpp"

namespace train::wide::sim {

void World::start_coordinator() {
  if (coordinator_) return;
  Replay journal = replay(disk_);
  require(journal.error.empty(), "the journal does not replay: " + journal.error);
  disk_.resize(journal.valid_bytes);
  checks_.replayed(journal.state);
  say("coordinator", fmt::format("starts from {} records{}", journal.records,
                                 journal.torn ? ", a torn one dropped" : ""));
  ++coordinator_life_;
  coordinator_.emplace(config_, journal.state, now_ms_);
  carry_out(coordinator_->tick(now_ms_));
}

/// At any moment: what was being written is on the disk in part, whole, or not at all.
void World::kill_coordinator() {
  if (!coordinator_) return;
  say("coordinator", "dies");
  coordinator_.reset();
  ++coordinator_life_;
  held_ = false;
  held_work_.clear();
  held_mail_.clear();
  if (disk_busy_) {
    if (const auto* append = std::get_if<Append>(&todo_.front())) {
      const auto length = static_cast<std::size_t>(
          random_.between(0, static_cast<std::int64_t>(append->frame.size())));
      Bytes part(append->frame.begin(),
                 append->frame.begin() + static_cast<std::ptrdiff_t>(length));
      // Blocks of the file may be there while their contents are not.
      if (random_.chance(50)) part.resize(append->frame.size(), std::byte{0});
      if (part == append->frame) {
        written(part, false);
      } else {
        disk_.insert(disk_.end(), part.begin(), part.end());
      }
    } else if (random_.chance(50)) {
      written(std::get<Compact>(todo_.front()).journal, true);
    }
  }
  disk_busy_ = false;
  todo_.clear();
  const auto connections = connections_;
  for (const auto& [session, connection] : connections) break_connection(session, false, true);
}

void World::carry_out(CoordinatorActions actions) {
  for (auto& action : actions) todo_.push_back(std::move(action));
  drain_coordinator();
}

/// In order; nothing passes a write that is not durable yet.
void World::drain_coordinator() {
  while (!disk_busy_ && !todo_.empty()) {
    CoordinatorAction& action = todo_.front();
    if (std::holds_alternative<Append>(action) || std::holds_alternative<Compact>(action)) {
      disk_busy_ = true;
      if (disk_.size() % 4 == 0) delicate(nullptr);
      after(random_.between(0, 15), [this, life = coordinator_life_] {
        if (life != coordinator_life_) return;
        disk_busy_ = false;
        const CoordinatorAction done = std::move(todo_.front());
        todo_.pop_front();
        const auto* append = std::get_if<Append>(&done);
        written(append ? append->frame : std::get<Compact>(done).journal, append == nullptr);
        drain_coordinator();
      });
      return;
    }
    const CoordinatorAction next = std::move(action);
    todo_.pop_front();
    if (const auto* send = std::get_if<SendTo>(&next)) {
      const auto* released = std::get_if<Released>(&send->message);
      const auto connection = connections_.find(send->session);
      if (released && released->finished && connection != connections_.end()) {
        const std::string& name = connection->second.cluster;
        checks_.too_late(name, within_reach(name));
      } else if (released && !released->last && connection != connections_.end()) {
        checks_.released(connection->second.cluster);
      }
      transmit(send->session, false, send->message);
    } else if (const auto* close = std::get_if<Close>(&next)) {
      transmit(close->session, false, std::nullopt);
    } else if (const auto* log = std::get_if<Log>(&next)) {
      say("coordinator", log->text);
    } else if (const auto* wake = std::get_if<WakeAt>(&next)) {
      after(wake->at_ms - now_ms_, [this, life = coordinator_life_, order = ++coordinator_wake_] {
        if (life != coordinator_life_ || order != coordinator_wake_) return;
        at_coordinator([this] { carry_out(coordinator_->tick(now_ms_)); });
      });
    }
  }
}

void World::at_coordinator(std::function<void()> run) {
  if (held_) {
    held_work_.push_back(std::move(run));
  } else {
    run();
  }
}

void World::hold_coordinator(TimeMs duration_ms) {
  if (held_ || !coordinator_) return;
  say("coordinator", fmt::format("is held up for {} ms", duration_ms));
  held_ = true;
  held_until_ms_ = now_ms_ + duration_ms;
  after(duration_ms, [this, life = coordinator_life_] {
    if (life != coordinator_life_) return;
    say("coordinator", "goes on");
    held_ = false;
    for (const SessionId session : std::exchange(held_mail_, {})) {
      if (random_.chance(50)) coordinator_->heard(session, now_ms_);
    }
    const auto work = std::exchange(held_work_, {});
    for (const auto& each : work) {
      if (life == coordinator_life_) each();
    }
  });
}

void World::written(const Bytes& bytes, bool whole_journal) {
  if (whole_journal) disk_.clear();
  disk_.insert(disk_.end(), bytes.begin(), bytes.end());
  if (whole_journal) {
    const Replay compacted = replay(disk_);
    require(compacted.error.empty(), "a compacted journal does not replay");
    checks_.replayed(compacted.state);
    return;
  }
  Reader reader(std::span<const std::byte>(bytes).subspan(journal_header_bytes));
  Record record;
  reader(record);
  require(reader.complete(), "a journal frame that does not read");
  checks_.durable(record, living());
}

}  // namespace train::wide::sim

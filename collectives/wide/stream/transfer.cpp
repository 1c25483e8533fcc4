#include "collectives/wide/stream/transfer.hpp"

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/transfer_state.hpp"

namespace train::wide {

bool Transfer::State::wait_until(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline, [this] { return done_; })) return false;
  if (!error_.empty()) throw Error(error_);
  return true;
}

bool Transfer::State::wait_progress(std::size_t bytes, Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline, [&] { return done_ || progress_ >= bytes; })) {
    return false;
  }
  if (!error_.empty()) throw Error(error_);
  return true;
}

std::size_t Transfer::State::progress() const {
  const std::lock_guard lock(mutex_);
  return progress_;
}

bool Transfer::State::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

bool Transfer::State::end(const std::string& why) {
  std::unique_lock lock(mutex_);
  if (ended_) {
    changed_.wait(lock, [this] { return done_; });
    return false;
  }
  ended_ = true;
  changed_.wait(lock, [this] { return steps_ == 0; });
  error_ = why;
  if (why.empty()) progress_ = bytes_;
  done_ = true;
  changed_.notify_all();
  return true;
}

void Transfer::State::advance_to(std::size_t bytes) {
  progress_ = bytes;
  changed_.notify_all();
}

Transfer::Transfer(std::shared_ptr<State> state) : state_(std::move(state)) {}
void Transfer::wait() {
  static_cast<void>(state_->wait_until(Deadline::max()));
}
bool Transfer::wait_until(Deadline deadline) {
  return state_->wait_until(deadline);
}
std::size_t Transfer::progress() const {
  return state_->progress();
}
bool Transfer::wait_progress(std::size_t bytes, Deadline deadline) {
  return state_->wait_progress(bytes, deadline);
}
void Transfer::release(std::size_t bytes) {
  state_->release(bytes);
}
void Transfer::cancel() {
  state_->on_cancel();
}
Work Transfer::work() const {
  return Work(state_);
}

}  // namespace train::wide

#include "collectives/nccl/watch.hpp"

#include <utility>

#include "collectives/error.hpp"

namespace train::nccl {
namespace {

// A failure is noticed this late at most. Landings are only late for the counters: waits of the
// compute stream do not pass through here.
constexpr std::chrono::milliseconds watch_interval{2};

// Must not throw: it decides what is erased. The thread comes upon the same failure, and fails the
// group.
bool is_over(const std::shared_ptr<Flight>& flight) noexcept {
  try {
    return flight->poll();
  } catch (...) {
    return false;
  }
}

}  // namespace

Watch::Watch(detail::Membership who, std::function<void()> look,
             std::function<void(const detail::Fault&)> fail)
    : who_(std::move(who)), look_(std::move(look)), fail_(std::move(fail)) {}

Watch::~Watch() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

std::optional<detail::Fault> Watch::add(std::shared_ptr<Flight> flight) {
  std::lock_guard lock(mutex_);
  if (fault_) {
    flight->fail(*fault_);
    return fault_;
  }
  // Groups that never move a GPU's data need no thread.
  if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  flights_.push_back(std::move(flight));
  changed_.notify_all();
  return {};
}

void Watch::land() {
  std::lock_guard lock(mutex_);
  std::erase_if(flights_, is_over);
  if (flights_.empty()) changed_.notify_all();
}

void Watch::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return flights_.empty(); });
}

bool Watch::fail_all(const detail::Fault& fault) {
  std::lock_guard lock(mutex_);
  if (!fault_) fault_ = fault;
  const bool some = !flights_.empty();
  for (const auto& flight : flights_) flight->fail(fault);
  flights_.clear();
  changed_.notify_all();
  return some;
}

void Watch::look_at(const std::vector<std::shared_ptr<Flight>>& flights) {
  for (const auto& flight : flights) {
    // The clock is read first: who was kept from the processor still lands what is over.
    const bool expired = Clock::now() >= flight->deadline();
    if (!flight->poll() && expired) throw Error(flight->describe_stall(who_));
  }
  look_();
}

void Watch::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closing_ || !flights_.empty(); });
    if (flights_.empty()) return;
    const auto flights = flights_;
    lock.unlock();
    try {
      look_at(flights);
      land();
    } catch (const std::exception&) {
      fail_(detail::current_fault());
    }
    lock.lock();
    if (!flights_.empty()) changed_.wait_for(lock, watch_interval);
  }
}

}  // namespace train::nccl

#include "libtrain/checkpoint/read_ahead.hpp"

#include <algorithm>
#include <system_error>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

constexpr std::uint64_t ring_bytes = std::uint64_t{24} << 20;
// The disk stays busy though threads wait for a processor that hashes: with 3, two ranks on two
// cores took a tenth longer.
constexpr std::size_t threads_max = 8;

}  // namespace

ReadAhead::~ReadAhead() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  asked_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  if (ring_ != nullptr) memory_.release(ring_, capacity_);
}

bool ReadAhead::ask(const DirectFile& file, std::uint64_t begin, std::uint64_t bytes,
                    DirectFile::Through through) {
  Stretch stretch{&file, begin, bytes, through, 0, DirectFile::room_for(begin, bytes)};
  {
    const std::lock_guard lock(mutex_);
    let_go();
    if (!place(stretch)) return false;
    stretches_.push_back(stretch);
  }
  asked_.notify_one();
  add_thread();
  return true;
}

void ReadAhead::add_thread() {
  if (threads_.size() == threads_max) return;
  try {
    threads_.emplace_back([this] { run(); });
  } catch (const std::system_error& error) {
    // Fewer will do, but for none.
    if (threads_.empty()) throw Error(fmt::format("no thread to read with: {}", error.what()));
  }
}

// Behind the last, or at the ring's begin.
bool ReadAhead::place(Stretch& stretch) {
  if (stretches_.empty()) {
    reserve(stretch.room);
    return true;
  }
  const std::uint64_t first = stretches_.front().at;
  const std::uint64_t end = stretches_.back().at + stretches_.back().room;
  const bool wrapped = stretches_.back().at < first;
  const std::uint64_t limit = wrapped ? first : capacity_;
  if (end + stretch.room <= limit) {
    stretch.at = end;
    return true;
  }
  return !wrapped && stretch.room <= first;
}

void ReadAhead::reserve(std::uint64_t bytes) {
  bytes = std::max(bytes, ring_bytes);
  if (bytes <= capacity_) return;
  if (ring_ != nullptr) memory_.release(ring_, capacity_);
  ring_ = static_cast<std::byte*>(memory_.allocate(bytes));
  capacity_ = bytes;
}

void ReadAhead::let_go() {
  if (!taken_) return;
  stretches_.pop_front();
  --claimed_;
  taken_ = false;
}

std::span<const std::byte> ReadAhead::take() {
  std::unique_lock lock(mutex_);
  let_go();
  invariant(!stretches_.empty(), "what is taken was asked for");
  Stretch& first = stretches_.front();
  read_.wait(lock, [&] { return first.done; });
  taken_ = true;
  if (first.failure) std::rethrow_exception(first.failure);
  return first.read;
}

void ReadAhead::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    asked_.wait(lock, [this] { return stop_ || claimed_ < stretches_.size(); });
    if (stop_) return;
    Stretch& mine = stretches_[claimed_++];
    lock.unlock();
    try {
      mine.read =
          mine.file->read(mine.begin, mine.bytes, {ring_ + mine.at, mine.room}, mine.through);
    } catch (...) {
      mine.failure = std::current_exception();
    }
    lock.lock();
    mine.done = true;
    read_.notify_one();
  }
}

}  // namespace train

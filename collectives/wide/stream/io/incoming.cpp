#include "collectives/wide/stream/io/incoming.hpp"

#include <algorithm>

#include "collectives/wide/stream/io/frame.hpp"

namespace train::wide::detail {

Incoming::Incoming(std::uint64_t id, std::span<std::byte> memory, std::size_t chunk_bytes,
                   Deadline deadline)
    : State(memory.size(), deadline),
      id_(id),
      memory_(memory),
      chunk_bytes_(chunk_bytes),
      chunks_(chunk_count(memory.size(), chunk_bytes)) {}

bool Incoming::has(std::uint64_t offset, std::uint64_t length) const {
  return offset / chunk_bytes_ < chunks_.size() && offset % chunk_bytes_ == 0 &&
         length == std::min<std::uint64_t>(chunk_bytes_, memory_.size() - offset);
}

bool Incoming::claim(std::uint64_t offset, std::uint64_t stream) {
  std::unique_lock lock(mutex_);
  Chunk& chunk = chunk_at(offset);
  // Whoever writes it now is in the middle of one read that does not block.
  ++claiming_;
  changed_.wait(lock, [&] { return !chunk.busy; });
  --claiming_;
  if (ended_ || chunk.there) return false;
  chunk.owner = stream;
  return true;
}

std::span<std::byte> Incoming::enter(std::uint64_t offset, std::uint64_t stream) {
  const std::lock_guard lock(mutex_);
  Chunk& chunk = chunk_at(offset);
  if (ended_ || chunk.there || chunk.owner != stream) return {};
  chunk.busy = true;
  ++steps_;
  return memory_.subspan(offset, std::min<std::size_t>(chunk_bytes_, memory_.size() - offset));
}

void Incoming::leave(std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  chunk_at(offset).busy = false;
  --steps_;
  // Steps are many: those who wait for the transfer's progress are not woken by each.
  if (ended_ || claiming_ > 0) changed_.notify_all();
}

bool Incoming::complete(std::uint64_t offset, std::uint64_t stream) {
  {
    const std::lock_guard lock(mutex_);
    Chunk& chunk = chunk_at(offset);
    if (chunk.there) return true;
    if (ended_ || chunk.owner != stream) return false;
    chunk.there = true;
    ++there_;
    const auto before = whole_;
    while (whole_ < chunks_.size() && chunks_[whole_].there) ++whole_;
    if (whole_ != before) advance_to(std::min(whole_ * chunk_bytes_, memory_.size()));
    if (there_ < chunks_.size()) return true;
  }
  finish();
  return true;
}

std::uint64_t ReceiveTable::add(std::shared_ptr<Incoming> transfer) {
  live_.emplace(++grants_, std::move(transfer));
  return grants_;
}

std::shared_ptr<Incoming> ReceiveTable::find(std::uint64_t grant) const {
  const auto found = live_.find(grant);
  return found == live_.end() ? nullptr : found->second;
}

void ReceiveTable::give_up(std::uint64_t grant, const std::string& why) {
  constexpr std::size_t remembered_max = 4096;
  if (live_.erase(grant) == 0) return;
  given_up_.emplace(grant, why);
  if (given_up_.size() > remembered_max) given_up_.erase(given_up_.begin());
}

std::string ReceiveTable::why_given_up(std::uint64_t grant) const {
  if (grant <= forgotten_ || grant > grants_) return "the receiver knows of no such transfer";
  const auto found = given_up_.find(grant);
  return found == given_up_.end() ? "" : found->second;
}

void ReceiveTable::clear() {
  live_.clear();
  given_up_.clear();
  forgotten_ = grants_;
}

}  // namespace train::wide::detail

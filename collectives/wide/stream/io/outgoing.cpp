#include "collectives/wide/stream/io/outgoing.hpp"

#include <algorithm>

#include "collectives/wide/stream/io/frame.hpp"

namespace train::wide::detail {
namespace {

void remember(std::map<std::uint64_t, std::string>& past, std::uint64_t key,
              const std::string& why) {
  constexpr std::size_t remembered_max = 4096;
  past.emplace(key, why);
  if (past.size() > remembered_max) past.erase(past.begin());
}

}  // namespace

std::size_t Outgoing::ready() const {
  const std::lock_guard lock(mutex_);
  return ready_;
}

void Outgoing::release(std::size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    ready_ = std::max(ready_, std::min(bytes, memory_.size()));
  }
  on_release();
}

std::span<const std::byte> Outgoing::enter() {
  const std::lock_guard lock(mutex_);
  if (ended_) return {};
  ++steps_;
  return memory_;
}

void Outgoing::leave() {
  const std::lock_guard lock(mutex_);
  --steps_;
  if (ended_) changed_.notify_all();
}

void Outgoing::acknowledged_up_to(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (!ended_) advance_to(bytes);
}

std::optional<Refusal> SendTable::add(const std::shared_ptr<Outgoing>& transfer) {
  posted_.push_back(Posted{.transfer = transfer, .returned = {}, .acknowledged = {}});
  const auto early = early_.find(transfer->id());
  if (early == early_.end()) return std::nullopt;
  const auto grant = early->second;
  early_.erase(early);
  return match(std::prev(posted_.end()), grant);
}

SendTable::GrantResult SendTable::on_grant(std::uint64_t grant, std::uint64_t id,
                                           std::uint64_t bytes, std::uint32_t chunk_bytes) {
  if (chunk_bytes < chunk_bytes_min || chunk_bytes > chunk_bytes_max) {
    return {"asked for chunks of " + std::to_string(chunk_bytes) + " bytes", {}};
  }
  if (by_grant_.contains(grant)) return {};
  if (const auto ended = ended_grants_.find(grant); ended != ended_grants_.end()) {
    if (ended->second.empty()) return {};
    return {{}, Refusal{grant, ended->second}};
  }
  if (const auto cancelled = cancelled_ids_.find(id); cancelled != cancelled_ids_.end()) {
    return {{}, Refusal{grant, cancelled->second}};
  }
  const Early early{grant, bytes, chunk_bytes};
  for (auto posted = posted_.begin(); posted != posted_.end(); ++posted) {
    if (posted->grant == 0 && posted->transfer->id() == id) return {{}, match(posted, early)};
  }
  if (early_.size() >= early_grants_max) return {"asked for too many transfers at once", {}};
  early_.insert_or_assign(id, early);
  return {};
}

std::optional<Refusal> SendTable::match(Place posted, const Early& early) {
  const auto transfer = posted->transfer;
  posted->grant = early.grant;
  if (early.bytes != transfer->bytes()) {
    const std::string sizes =
        "transfer " + std::to_string(transfer->id()) + " has " + std::to_string(transfer->bytes()) +
        " bytes at its sender, but its receiver expects " + std::to_string(early.bytes);
    forget(posted, sizes);
    transfer->fail(sizes);
    return Refusal{early.grant, sizes};
  }
  posted->chunk_bytes = early.chunk_bytes;
  posted->acknowledged.resize(chunk_count(early.bytes, early.chunk_bytes));
  by_grant_.emplace(early.grant, posted);
  return std::nullopt;
}

std::optional<std::size_t> SendTable::take_index(Posted& posted) {
  while (!posted.returned.empty()) {
    const auto index = posted.returned.front();
    posted.returned.pop_front();
    if (!posted.acknowledged[index]) return index;
  }
  if (posted.next >= posted.acknowledged.size()) return std::nullopt;
  const auto end = std::min((posted.next + 1) * posted.chunk_bytes, posted.transfer->bytes());
  if (end > posted.transfer->ready()) return std::nullopt;
  return posted.next++;
}

std::optional<Chunk> SendTable::next(std::uint64_t stream) {
  const auto urgent = next(stream, true);
  return urgent ? urgent : next(stream, false);
}

std::optional<Chunk> SendTable::next(std::uint64_t stream, bool is_urgent) {
  for (Posted& posted : posted_) {
    if (posted.grant == 0 || posted.transfer->is_urgent() != is_urgent) continue;
    if (const auto index = take_index(posted)) {
      under_way_[stream].emplace(posted.grant, *index);
      const auto offset = *index * posted.chunk_bytes;
      const auto length = std::min(posted.chunk_bytes, posted.transfer->bytes() - offset);
      return Chunk{posted.transfer, posted.grant, offset, static_cast<std::uint32_t>(length)};
    }
  }
  return std::nullopt;
}

void SendTable::on_have(std::uint64_t grant, std::uint64_t offset) {
  const auto found = by_grant_.find(grant);
  if (found == by_grant_.end()) return;
  Posted& posted = *found->second;
  const auto index = offset / posted.chunk_bytes;
  if (index >= posted.acknowledged.size() || posted.acknowledged[index]) return;
  posted.acknowledged[index] = true;
  ++posted.acknowledged_count;
  for (auto& [stream, chunks] : under_way_) chunks.erase({grant, index});
  const auto before = posted.whole;
  while (posted.whole < posted.acknowledged.size() && posted.acknowledged[posted.whole]) {
    ++posted.whole;
  }
  const auto transfer = posted.transfer;
  if (posted.whole != before) {
    transfer->acknowledged_up_to(std::min(posted.whole * posted.chunk_bytes, transfer->bytes()));
  }
  if (posted.acknowledged_count < posted.acknowledged.size()) return;
  forget(found->second);
  transfer->finish();
}

void SendTable::on_stream_lost(std::uint64_t stream) {
  const auto lost = under_way_.extract(stream);
  if (lost.empty()) return;
  for (const auto& [grant, index] : lost.mapped()) {
    const auto found = by_grant_.find(grant);
    if (found != by_grant_.end()) found->second->returned.push_back(index);
  }
}

void SendTable::on_gone(std::uint64_t grant, const std::string& why) {
  const auto found = by_grant_.find(grant);
  if (found != by_grant_.end()) {
    const auto transfer = found->second->transfer;
    forget(found->second);
    transfer->fail(why);
    return;
  }
  std::erase_if(early_, [grant](const auto& entry) { return entry.second.grant == grant; });
}

std::optional<Refusal> SendTable::remove(const std::shared_ptr<Outgoing>& transfer,
                                         const std::string& why) {
  for (auto posted = posted_.begin(); posted != posted_.end(); ++posted) {
    if (posted->transfer != transfer) continue;
    const auto grant = posted->grant;
    if (grant == 0) remember(cancelled_ids_, transfer->id(), why);
    forget(posted, why);
    return grant != 0 ? std::optional(Refusal{grant, why}) : std::nullopt;
  }
  return std::nullopt;
}

void SendTable::forget(Place posted, const std::string& why) {
  const auto grant = posted->grant;
  if (grant != 0) {
    for (auto& [stream, chunks] : under_way_) {
      chunks.erase(chunks.lower_bound({grant, 0}), chunks.lower_bound({grant + 1, 0}));
    }
    by_grant_.erase(grant);
    remember(ended_grants_, grant, why);
  }
  posted_.erase(posted);
}

std::vector<std::shared_ptr<Outgoing>> SendTable::all() const {
  std::vector<std::shared_ptr<Outgoing>> transfers;
  for (const Posted& posted : posted_) transfers.push_back(posted.transfer);
  return transfers;
}

void SendTable::clear() {
  posted_.clear();
  by_grant_.clear();
  early_.clear();
  under_way_.clear();
  ended_grants_.clear();
  cancelled_ids_.clear();
}

}  // namespace train::wide::detail

#include "collectives/mpi/channel.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "collectives/mpi/backoff.hpp"
#include "collectives/mpi/tags.hpp"

namespace train::mpi {

std::shared_ptr<Channel> Channels::make(Comm comm, detail::Membership who) {
  auto channel = std::make_shared<Channel>(*this, std::move(comm), std::move(who));
  std::lock_guard lock(mutex_);
  channels_.push_back(channel);
  return channel;
}

void Channels::close() {
  std::lock_guard lock(mutex_);
  channels_.clear();
}

void Channels::abandon() noexcept {
  std::lock_guard lock(mutex_);
  for (const auto& channel : channels_) channel->release();
}

Channel::Channel(Channels& channels, Comm comm, detail::Membership who)
    : channels_(channels),
      comm_(std::move(comm)),
      messages_(duplicate(comm_.get())),
      who_(std::move(who)),
      incoming_(static_cast<std::size_t>(who_.size)),
      incoming_requests_(static_cast<std::size_t>(who_.size), MPI_REQUEST_NULL),
      heard_(static_cast<std::size_t>(who_.size), false) {
  for (int peer = 0; peer < who_.size; ++peer) {
    if (peer == who_.rank) continue;
    const auto i = static_cast<std::size_t>(peer);
    incoming_requests_[i] = irecv(comm_.get(), &incoming_[i], sizeof(Notice), peer, notice_tag);
  }
}

Channel::~Channel() {
  if (!comm_) return;
  for (auto& request : incoming_requests_) {
    if (request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
  }
}

void Channel::release() noexcept {
  std::lock_guard lock(mutex_);
  static_cast<void>(comm_.release());
  static_cast<void>(messages_.release());
}

std::byte* Channel::staging(std::size_t bytes) {
  if (staging_.size() < bytes) staging_.resize(bytes);
  return staging_.data();
}

bool Channel::wait(const std::function<bool()>& done, Deadline deadline,
                   std::optional<std::uint64_t> needed) {
  Backoff backoff;
  while (true) {
    // Looked at before the poll: a rank that was kept from the processor past its deadline still
    // takes what has arrived by then.
    const bool expired = Clock::now() >= deadline;
    if (done()) return true;
    if (expired) return false;
    if (backoff.slow() || failed_) throw_if_peer_gone(needed);
    backoff.pause();
  }
}

void Channel::throw_if_peer_gone(std::optional<std::uint64_t> needed) {
  std::lock_guard lock(mutex_);
  if (failed_) why_.raise();
  for (int peer = 0; peer < who_.size; ++peer) {
    const auto i = static_cast<std::size_t>(peer);
    if (peer == who_.rank) continue;
    if (!heard_[i]) heard_[i] = test(incoming_requests_[i]);
    if (!heard_[i]) continue;
    const auto& notice = incoming_[i];
    if (notice.failed) {
      channels_.hear_of_failure();
      throw detail::PeerFailure(
          fmt::format("rank {} of group '{}' failed: {} (seen by rank {})", peer, who_.group,
                      std::string(notice.text.data(), notice.length), who_.rank));
    }
    if (needed && notice.collectives <= *needed) {
      throw detail::PeerFailure(
          fmt::format("rank {} left group '{}' after {} calls (seen by rank "
                      "{})",
                      peer, who_.group, notice.collectives, who_.rank));
    }
  }
}

void Channel::tell_peers(const Notice& notice) {
  if (std::exchange(told_, true)) return;
  outgoing_ = notice;
  for (int peer = 0; peer < who_.size; ++peer) {
    if (peer == who_.rank) continue;
    outgoing_requests_.send(comm_.get(), &outgoing_, sizeof(Notice), peer, notice_tag);
  }
}

void Channel::fail(const detail::Fault& why) noexcept {
  try {
    std::lock_guard lock(mutex_);
    if (failed_) return;
    why_ = why;
    failed_ = true;
    if (why.of_peer) return;
    Notice notice;
    notice.failed = 1;
    notice.length = static_cast<std::uint32_t>(std::min(why.message.size(), notice.text.size()));
    std::memcpy(notice.text.data(), why.message.data(), notice.length);
    tell_peers(notice);
  } catch (const std::exception&) {
    // A notice is a courtesy; who does not get it finds out at its deadline.
  }
}

void Channel::leave(std::uint64_t collectives) noexcept {
  try {
    std::lock_guard lock(mutex_);
    if (!failed_) tell_peers({.collectives = collectives});
  } catch (const std::exception&) {
    // As above.
  }
}

}  // namespace train::mpi

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "collectives/mpi/calls.hpp"
#include "collectives/mpi/requests.hpp"
#include "collectives/ordered/agreement.hpp"
#include "collectives/ordered/fault.hpp"

namespace train::mpi {

class Channel;

/// All channels of a process. They live until MPI ends: a rank may leave a group while its last
/// words still travel, and MPI would deliver them to a later group that got the same context.
class Channels {
 public:
  std::shared_ptr<Channel> make(Comm comm, detail::Membership who);
  /// Frees all. Once every rank of the world is here and silent.
  void close();
  /// Whether a peer's failure ended a wait of this process.
  bool heard_of_failure() const { return heard_of_failure_; }
  void hear_of_failure() { heard_of_failure_ = true; }
  /// Gives all handles up without a call to MPI, for a process that ends in failure.
  void abandon() noexcept;

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Channel>> channels_;
  std::atomic<bool> heard_of_failure_{false};
};

/// One group's contexts in MPI, and the notices by which its ranks hear that one failed or left.
class Channel {
 public:
  /// Collective: duplicates `comm` for the messages.
  Channel(Channels& channels, Comm comm, detail::Membership who);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel();

  const detail::Membership& who() const { return who_; }
  Channels& channels() const { return channels_; }
  /// For collectives.
  MPI_Comm comm() const { return comm_.get(); }
  /// For messages between two ranks; their tags cannot meet those of collectives.
  MPI_Comm messages() const { return messages_.get(); }

  /// Memory for data that waits to be reduced. Kept and reused; grows to what is asked.
  std::byte* staging(std::size_t bytes);
  void free_staging() { staging_ = {}; }

  /// Polls until `done` returns true; false when `deadline` came first. Throws when this rank was
  /// failed by another thread, or a peer says that it failed. With `needed`, a number of a
  /// collective, also when a peer left before it came to that one.
  bool wait(const std::function<bool()>& done, Deadline deadline,
            std::optional<std::uint64_t> needed = std::nullopt);

  /// Throws as wait() does, without waiting.
  void throw_if_peer_gone(std::optional<std::uint64_t> needed = std::nullopt);

  /// Makes waits on this rank end with `why` and tells the peers, unless one of them is the cause
  /// and tells them itself. Only the first call counts.
  void fail(const detail::Fault& why) noexcept;
  /// Tells the peers that this rank made `collectives` calls and makes no more.
  void leave(std::uint64_t collectives) noexcept;
  bool failed() const { return failed_; }

  void release() noexcept;

 private:
  struct Notice {
    std::uint64_t collectives = 0;
    std::uint32_t failed = 0;
    std::uint32_t length = 0;
    std::array<char, 1000> text{};
  };

  void tell_peers(const Notice& notice);

  Channels& channels_;
  Comm comm_;
  Comm messages_;
  detail::Membership who_;
  std::vector<std::byte> staging_;

  std::mutex mutex_;  // guards what follows, but for the flag
  std::atomic<bool> failed_{false};
  detail::Fault why_;
  bool told_ = false;
  Notice outgoing_;
  std::vector<Notice> incoming_;
  std::vector<MPI_Request> incoming_requests_;
  std::vector<bool> heard_;
  Requests outgoing_requests_;
};

}  // namespace train::mpi

#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "collectives/wide/stream/io/transfer_state.hpp"
#include "collectives/wide/stream/link.hpp"

namespace train::wide::detail {

/// The sending end of a transfer.
class Outgoing final : public Transfer::State {
 public:
  Outgoing(std::uint64_t id, std::span<const std::byte> memory, const SendOptions& options,
           Deadline deadline)
      : State(memory.size(), deadline),
        id_(id),
        memory_(memory),
        is_urgent_(options.is_urgent),
        ready_(std::min(options.ready_bytes.value_or(memory.size()), memory.size())) {}

  std::uint64_t id() const { return id_; }
  bool is_urgent() const { return is_urgent_; }
  std::size_t ready() const;
  void release(std::size_t bytes) override;
  std::function<void()> on_release;

  /// All of the memory for one step, until leave(); empty once the transfer has ended.
  std::span<const std::byte> enter();
  void leave();
  void acknowledged_up_to(std::size_t bytes);

 private:
  const std::uint64_t id_;
  const std::span<const std::byte> memory_;
  const bool is_urgent_;
  std::size_t ready_;
};

/// A piece of a transfer on its way over one stream.
struct Chunk {
  std::shared_ptr<Outgoing> transfer;
  std::uint64_t grant = 0, offset = 0;
  std::uint32_t length = 0;
};

struct Refusal {
  std::uint64_t grant = 0;
  std::string reason;
};

/// All transfers that a link sends, and which stream has which chunk under way. Its link's lock
/// guards it.
class SendTable {
 public:
  /// The peer wants bytes that this end has not posted yet; a peer may not pile up more.
  static constexpr std::size_t early_grants_max = 65'536;

  /// Set if the peer waits for this id with another size: `transfer` has failed then.
  std::optional<Refusal> add(const std::shared_ptr<Outgoing>& transfer);

  struct GrantResult {
    std::string violation;
    std::optional<Refusal> refusal;
  };
  GrantResult on_grant(std::uint64_t grant, std::uint64_t id, std::uint64_t bytes,
                       std::uint32_t chunk_bytes);

  /// The next chunk of the oldest transfer that has one, of urgent ones first; it is `stream`'s to
  /// deliver.
  std::optional<Chunk> next(std::uint64_t stream);
  void on_have(std::uint64_t grant, std::uint64_t offset);
  /// What it had under way goes to other streams.
  void on_stream_lost(std::uint64_t stream);
  void on_gone(std::uint64_t grant, const std::string& why);

  /// Forgets it; returns what the peer is to be told.
  std::optional<Refusal> remove(const std::shared_ptr<Outgoing>& transfer, const std::string& why);
  bool empty() const { return posted_.empty(); }
  std::vector<std::shared_ptr<Outgoing>> all() const;
  /// The peer is another process: nothing that it asked for holds any more.
  void clear();

 private:
  struct Posted {
    std::shared_ptr<Outgoing> transfer;
    std::uint64_t grant = 0;  // 0: the peer has not asked for it yet
    std::size_t chunk_bytes = 0;
    std::size_t next = 0;              // chunks from here on were never sent
    std::deque<std::size_t> returned;  // lost with their streams
    std::vector<bool> acknowledged;
    std::size_t acknowledged_count = 0, whole = 0;
  };
  struct Early {
    std::uint64_t grant, bytes;
    std::uint32_t chunk_bytes;
  };
  using Place = std::list<Posted>::iterator;

  std::optional<Chunk> next(std::uint64_t stream, bool is_urgent);
  std::optional<Refusal> match(Place posted, const Early& early);
  std::optional<std::size_t> take_index(Posted& posted);
  void forget(Place posted, const std::string& why = {});

  std::list<Posted> posted_;  // oldest first
  std::map<std::uint64_t, Place> by_grant_;
  std::map<std::uint64_t, Early> early_;  // by transfer id
  std::map<std::uint64_t, std::set<std::pair<std::uint64_t, std::size_t>>> under_way_;  // by stream
  /// Of late, lest what comes again be taken for news; with the reason where the peer must know.
  std::map<std::uint64_t, std::string> ended_grants_, cancelled_ids_;
};

}  // namespace train::wide::detail

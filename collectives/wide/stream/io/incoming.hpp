#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "collectives/wide/stream/io/transfer_state.hpp"

namespace train::wide::detail {

/// The receiving end of a transfer. A chunk that comes twice, over two streams, is written by the
/// later one until it is whole, and by nobody after that.
class Incoming final : public Transfer::State {
 public:
  Incoming(std::uint64_t id, std::span<std::byte> memory, std::size_t chunk_bytes,
           Deadline deadline);

  std::uint64_t id() const { return id_; }
  std::size_t chunk_bytes() const { return chunk_bytes_; }
  /// Whether the transfer has a chunk of `length` bytes at `offset`.
  bool has(std::uint64_t offset, std::uint64_t length) const;

  /// From now on `stream` alone writes the chunk at `offset`; false if it is not wanted any more.
  bool claim(std::uint64_t offset, std::uint64_t stream);
  /// The chunk's memory for one step, until leave(); empty if it is not `stream`'s to write.
  std::span<std::byte> enter(std::uint64_t offset, std::uint64_t stream);
  void leave(std::uint64_t offset);
  /// All bytes were written. True if the chunk is there now, by `stream` or another.
  bool complete(std::uint64_t offset, std::uint64_t stream);

 private:
  struct Chunk {
    std::uint64_t owner = 0;
    bool busy = false, there = false;
  };
  Chunk& chunk_at(std::uint64_t offset) { return chunks_[offset / chunk_bytes_]; }

  const std::uint64_t id_;
  const std::span<std::byte> memory_;
  const std::size_t chunk_bytes_;
  std::vector<Chunk> chunks_;
  std::size_t whole_ = 0;  // chunks from the start that are there
  std::size_t there_ = 0;
  int claiming_ = 0;  // streams that wait for another's step
};

/// All transfers that a link receives, by grant. Its link's lock guards it.
class ReceiveTable {
 public:
  /// The number of the grant.
  std::uint64_t add(std::shared_ptr<Incoming> transfer);
  std::shared_ptr<Incoming> find(std::uint64_t grant) const;
  void remove(std::uint64_t grant) { live_.erase(grant); }
  /// Forgets a transfer that is not complete, but remembers why for a while: its sender is told
  /// whenever it sends more.
  void give_up(std::uint64_t grant, const std::string& why);
  /// Empty for one that was not given up: for one that is complete, too.
  std::string why_given_up(std::uint64_t grant) const;

  const std::map<std::uint64_t, std::shared_ptr<Incoming>>& live() const { return live_; }
  void clear();

 private:
  std::map<std::uint64_t, std::shared_ptr<Incoming>> live_;
  std::map<std::uint64_t, std::string> given_up_;
  std::uint64_t grants_ = 0;
  std::uint64_t forgotten_ = 0;  // those up to here were
};

}  // namespace train::wide::detail

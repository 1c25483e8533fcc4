#include "libtrain/parallel/redistribute.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "collectives/error.hpp"
#include "libtrain/parallel/redistribute_arguments.hpp"
#include "libtrain/parallel/redistribution_plan.hpp"

namespace train {
namespace {

constexpr int redistribute_tag = 2;

// From this size on, a piece saves more by travelling unpacked than a message of its own costs.
constexpr std::int64_t alone_bytes = 1 << 20;

// ---- Bytes in regions --------------------------------------------------------------------------

// Calls visit(offset, count) for the stretches that hold bytes [begin, end) of a region.
template <typename Visit>
void for_stretches(const Region& region, std::int64_t begin, std::int64_t end, Visit visit) {
  const auto& extents = region.extents;
  const auto& strides = region.strides;
  std::int64_t column = begin % extents[3];
  std::int64_t row = begin / extents[3];
  std::int64_t at[3] = {row / extents[2] / extents[1], row / extents[2] % extents[1],
                        row % extents[2]};
  while (begin < end) {
    const std::int64_t count = std::min(extents[3] - column, end - begin);
    visit(region.begin + at[0] * strides[0] + at[1] * strides[1] + at[2] * strides[2] + column,
          count);
    begin += count;
    column = 0;
    for (std::size_t i = 3; i-- > 0;) {
      if (++at[i] < extents[i]) break;
      at[i] = 0;
    }
  }
}

void copy(const std::byte* source, const Region& from, std::byte* target, const Region& to) {
  std::int64_t done = 0;
  for_stretches(from, 0, from.bytes(), [&](std::int64_t offset, std::int64_t count) {
    const std::byte* next = source + offset;
    for_stretches(to, done, done + count, [&](std::int64_t place, std::int64_t bytes) {
      std::memcpy(target + place, next, static_cast<std::size_t>(bytes));
      next += bytes;
    });
    done += count;
  });
}

// ---- Messages ----------------------------------------------------------------------------------

// What one message carries: whole pieces, one after another, or bytes [begin, end) of one piece.
struct Chunk {
  std::span<const Region> pieces;
  std::int64_t begin;
  std::int64_t end;

  std::size_t bytes() const { return static_cast<std::size_t>(end - begin); }
  // Lies in one stretch of memory.
  bool direct() const { return pieces.size() == 1 && pieces[0].contiguous(); }

  // visit(region, its first byte, behind its last byte)
  template <typename Visit>
  void for_pieces(Visit visit) const {
    if (pieces.size() == 1) return visit(pieces[0], begin, end);
    for (const Region& piece : pieces) visit(piece, 0, piece.bytes());
  }
};

// Both ends cut alike, since their pieces are equally large; how a piece lies in memory, which
// differs, must not matter here.
std::vector<Chunk> chunks_of(std::span<const Region> pieces, std::int64_t limit) {
  std::vector<Chunk> chunks;
  bool open = false;  // the last chunk takes more pieces
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::int64_t bytes = pieces[i].bytes();
    if (bytes >= std::min(limit, alone_bytes)) {
      for (std::int64_t begin = 0; begin < bytes; begin += limit) {
        chunks.push_back({pieces.subspan(i, 1), begin, std::min(begin + limit, bytes)});
      }
      open = false;
    } else if (open && chunks.back().end + bytes <= limit) {
      Chunk& last = chunks.back();
      last.pieces = {last.pieces.data(), last.pieces.size() + 1};
      last.end += bytes;
    } else {
      chunks.push_back({pieces.subspan(i, 1), 0, bytes});
      open = true;
    }
  }
  return chunks;
}

std::size_t largest_staged(const std::vector<std::vector<Chunk>>& by_peer) {
  std::size_t bytes = 0;
  for (const auto& chunks : by_peer) {
    for (const Chunk& chunk : chunks) {
      if (!chunk.direct()) bytes = std::max(bytes, chunk.bytes());
    }
  }
  return bytes;
}

class Exchange {
 public:
  Exchange(Communicator& group, std::span<const Redistribution> tensors,
           const RedistributionPlan& plan, std::size_t staging_bytes)
      : group_(group), tensors_(tensors) {
    // A count of bytes that any number holds.
    const auto limit = static_cast<std::int64_t>(
        std::min<std::size_t>(staging_bytes / 2, std::numeric_limits<std::int32_t>::max()));
    for (const auto& pieces : plan.sends()) sends_.push_back(chunks_of(pieces, limit));
    for (const auto& pieces : plan.receives()) receives_.push_back(chunks_of(pieces, limit));
    const std::size_t send_bytes = largest_staged(sends_);
    cost_.staging_bytes = send_bytes + largest_staged(receives_);
    staging_ = std::make_unique_for_overwrite<std::byte[]>(cost_.staging_bytes);
    send_staging_ = staging_.get();
    receive_staging_ = staging_.get() + send_bytes;
  }

  // In round r a rank sends to the r-th rank after it and receives from the r-th before it, chunk
  // by chunk: chunk i of both is posted before either is waited for. This cannot lock up. Of all
  // (r, i) at which a rank waits take the least: its partners have passed all lesser ones, so they
  // are at (r, i) too or beyond, and have posted what it waits for.
  RedistributeCost run() {
    const int ranks = group_.size();
    for (int round = 1; round < ranks; ++round) {
      const int to = (group_.rank() + round) % ranks;
      const int from = (group_.rank() + ranks - round) % ranks;
      const auto& outgoing = sends_[static_cast<std::size_t>(to)];
      const auto& incoming = receives_[static_cast<std::size_t>(from)];
      for (std::size_t i = 0; i < std::max(outgoing.size(), incoming.size()); ++i) {
        step(i < outgoing.size() ? &outgoing[i] : nullptr, to,
             i < incoming.size() ? &incoming[i] : nullptr, from);
      }
    }
    return cost_;
  }

 private:
  void step(const Chunk* outgoing, int to, const Chunk* incoming, int from) {
    Work received;
    if (incoming != nullptr) received = receive(*incoming, from);
    try {
      if (outgoing != nullptr) send(*outgoing, to).wait();
    } catch (...) {
      // The memory that the other message fills is about to be freed.
      try {
        received.wait();
      } catch (const Error&) {
        // The first failure is the one to tell.
      }
      throw;
    }
    received.wait();
    if (incoming != nullptr) unpack(*incoming);
  }

  Work send(const Chunk& chunk, int peer) {
    const std::byte* data = send_staging_;
    if (chunk.direct()) {
      const Region& piece = chunk.pieces[0];
      data = tensors_[piece.tensor].source.data + piece.begin + chunk.begin;
    } else {
      pack(chunk);
    }
    cost_.bytes_sent += chunk.bytes();
    return group_.send(ConstBuffer(data, chunk.bytes(), DataType::u8), peer, redistribute_tag);
  }

  Work receive(const Chunk& chunk, int peer) {
    std::byte* data = receive_staging_;
    if (chunk.direct()) {
      const Region& piece = chunk.pieces[0];
      data = tensors_[piece.tensor].target.data + piece.begin + chunk.begin;
    }
    cost_.bytes_received += chunk.bytes();
    return group_.receive(Buffer(data, chunk.bytes(), DataType::u8), peer, redistribute_tag);
  }

  void pack(const Chunk& chunk) {
    std::byte* next = send_staging_;
    chunk.for_pieces([&](const Region& piece, std::int64_t begin, std::int64_t end) {
      const std::byte* source = tensors_[piece.tensor].source.data;
      for_stretches(piece, begin, end, [&](std::int64_t offset, std::int64_t count) {
        std::memcpy(next, source + offset, static_cast<std::size_t>(count));
        next += count;
      });
    });
  }

  void unpack(const Chunk& chunk) {
    if (chunk.direct()) return;
    const std::byte* next = receive_staging_;
    chunk.for_pieces([&](const Region& piece, std::int64_t begin, std::int64_t end) {
      std::byte* target = tensors_[piece.tensor].target.data;
      for_stretches(piece, begin, end, [&](std::int64_t offset, std::int64_t count) {
        std::memcpy(target + offset, next, static_cast<std::size_t>(count));
        next += count;
      });
    });
  }

  Communicator& group_;
  std::span<const Redistribution> tensors_;
  std::vector<std::vector<Chunk>> sends_;
  std::vector<std::vector<Chunk>> receives_;
  std::unique_ptr<std::byte[]> staging_;
  std::byte* send_staging_ = nullptr;
  std::byte* receive_staging_ = nullptr;
  RedistributeCost cost_;
};

}  // namespace

RedistributeCost redistribute(Communicator& group, std::span<const Redistribution> tensors,
                              const RedistributeOptions& options) {
  detail::check_redistribution(group, tensors, options);
  RedistributionPlan plan(group.size(), group.rank());
  for (const Redistribution& tensor : tensors) {
    const ConstBuffer target = tensor.target;
    const ConstBuffer& used = tensor.source.count > 0 ? tensor.source : target;
    plan.add(tensor.name, tensor.from, tensor.to, size_of(used.type));
  }
  RedistributeCost cost = Exchange(group, tensors, plan, options.staging_bytes).run();
  for (const auto& [from, to] : plan.copies()) {
    copy(tensors[from.tensor].source.data, from, tensors[to.tensor].target.data, to);
    cost.bytes_copied += static_cast<std::uint64_t>(from.bytes());
  }
  return cost;
}

}  // namespace train

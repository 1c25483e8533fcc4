#include "collectives/nccl/moves.hpp"

#include <algorithm>

#include "collectives/error.hpp"
#include "collectives/nccl/check.hpp"
#include "collectives/nccl/reduce_blocks.hpp"
#include "collectives/ordered/blocks.hpp"

namespace train::nccl {

using detail::Kind;
using detail::Operation;

namespace {

// Up to this many bytes of all ranks together, everything is gathered and every rank reduces all:
// one hop and two launches, where the way over blocks takes two hops and three launches.
constexpr std::size_t gather_bytes_max = std::size_t{1} << 20;
// Of what waits to be reduced. Larger messages are reduced piece by piece.
constexpr std::size_t scratch_bytes_max = std::size_t{64} << 20;
constexpr std::size_t alignment = 16;

std::size_t at(int rank) {
  return static_cast<std::size_t>(rank);
}

std::size_t round_up(std::size_t bytes) {
  return (bytes + alignment - 1) / alignment * alignment;
}

bool equal(std::span<const std::size_t> counts) {
  return std::ranges::all_of(counts, [&](std::size_t count) { return count == counts.front(); });
}

ncclDataType_t nccl_type(DataType type) {
  switch (type) {
    case DataType::f32:
      return ncclFloat32;
    case DataType::bf16:
      return ncclBfloat16;
    case DataType::f64:
      return ncclFloat64;
    case DataType::i32:
      return ncclInt32;
    case DataType::i64:
      return ncclInt64;
    case DataType::u8:
      return ncclUint8;
  }
  unreachable("unknown DataType");
}

ncclRedOp_t nccl_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return ncclSum;
    case ReduceOp::min:
      return ncclMin;
    case ReduceOp::max:
      return ncclMax;
  }
  unreachable("unknown ReduceOp");
}

bool is_float(DataType type) {
  return type == DataType::f32 || type == DataType::bf16 || type == DataType::f64;
}

}  // namespace

std::uint64_t Moves::launch(const Operation& operation) {
  switch (operation.kind) {
    case Kind::all_reduce:
      return all_reduce(operation);
    case Kind::reduce_scatter:
      return reduce_scatter(operation);
    case Kind::all_gather:
      return all_gather(operation);
    case Kind::broadcast:
      return broadcast(operation);
    case Kind::all_to_all:
      return all_to_all(operation);
    case Kind::barrier:
    case Kind::split:
      break;
  }
  unreachable("barrier and split have no data on a GPU");
}

bool Moves::native(const Operation& operation) const {
  const auto type = operation.send.type;
  if (!is_float(type) || who_.size == 1) return true;
  if (operation.op != ReduceOp::sum) return false;
  return sums_ == Sums::native || (sums_ == Sums::precise && type != DataType::bf16);
}

std::uint64_t Moves::all_reduce(const Operation& operation) {
  const auto& [send, receive] = std::pair(operation.send, operation.receive);
  const auto blocks = detail::even_blocks(send.count, who_.size);
  const auto bytes =
      send.bytes() + (at(who_.size) - 2) * blocks[at(who_.rank)] * size_of(send.type);
  if (native(operation)) {
    comm_.launch("ncclAllReduce", operation.deadline, [&](ncclComm_t comm) {
      check(ncclAllReduce(send.data, receive.data, send.count, nccl_type(send.type),
                          nccl_op(operation.op), comm, comm_.stream()),
            "ncclAllReduce", comm);
    });
  } else if (send.bytes() * at(who_.size) <= gather_bytes_max) {
    gather_and_reduce(operation);
    return send.bytes() * (at(who_.size) - 1);
  } else {
    const auto first = detail::offsets_of(blocks)[at(who_.rank)] * size_of(send.type);
    reduce_own(operation, blocks, receive.data + first);
    gather({receive.data + first, blocks[at(who_.rank)], send.type}, receive.data, blocks,
           operation.deadline);
  }
  return bytes;
}

std::uint64_t Moves::reduce_scatter(const Operation& operation) {
  const auto& [send, receive] = std::pair(operation.send, operation.receive);
  const auto& counts = operation.counts;
  const auto type = nccl_type(send.type);
  const auto op = nccl_op(operation.op);
  if (!native(operation)) {
    reduce_own(operation, counts, receive.data);
  } else if (equal(counts)) {
    comm_.launch("ncclReduceScatter", operation.deadline, [&](ncclComm_t comm) {
      check(
          ncclReduceScatter(send.data, receive.data, receive.count, type, op, comm, comm_.stream()),
          "ncclReduceScatter", comm);
    });
  } else {
    comm_.launch("a reduce-scatter by ncclReduce", operation.deadline, [&](ncclComm_t comm) {
      const auto* block = send.data;
      for (int root = 0; root < who_.size; ++root) {
        if (counts[at(root)] == 0) continue;
        check(ncclReduce(block, root == who_.rank ? receive.data : nullptr, counts[at(root)], type,
                         op, root, comm, comm_.stream()),
              "ncclReduce", comm);
        block += counts[at(root)] * size_of(send.type);
      }
    });
  }
  return (send.count - counts[at(who_.rank)]) * size_of(send.type);
}

std::uint64_t Moves::all_gather(const Operation& operation) {
  gather(operation.send, operation.receive.data, operation.counts, operation.deadline);
  return operation.send.bytes() * (at(who_.size) - 1);
}

void Moves::gather(ConstBuffer own, std::byte* all, std::span<const std::size_t> counts,
                   Deadline deadline) {
  const auto type = nccl_type(own.type);
  if (equal(counts)) {
    comm_.launch("ncclAllGather", deadline, [&](ncclComm_t comm) {
      check(ncclAllGather(own.data, all, own.count, type, comm, comm_.stream()), "ncclAllGather",
            comm);
    });
    return;
  }
  comm_.launch("an all-gather by ncclBroadcast", deadline, [&](ncclComm_t comm) {
    auto* block = all;
    for (int root = 0; root < who_.size; ++root) {
      if (counts[at(root)] == 0) continue;
      const auto* source = root == who_.rank ? own.data : block;  // read at the root alone
      check(ncclBroadcast(source, block, counts[at(root)], type, root, comm, comm_.stream()),
            "ncclBroadcast", comm);
      block += counts[at(root)] * size_of(own.type);
    }
  });
}

std::uint64_t Moves::broadcast(const Operation& operation) {
  const auto& buffer = operation.receive;
  comm_.launch("ncclBroadcast", operation.deadline, [&](ncclComm_t comm) {
    check(ncclBroadcast(buffer.data, buffer.data, buffer.count, nccl_type(buffer.type),
                        operation.root, comm, comm_.stream()),
          "ncclBroadcast", comm);
  });
  if (who_.size == 1) return 0;
  if (who_.rank == operation.root) return buffer.bytes();
  const auto shares = detail::even_blocks(buffer.count, who_.size - 1);
  const auto own = at(who_.rank < operation.root ? who_.rank : who_.rank - 1);
  return shares[own] * size_of(buffer.type) * (at(who_.size) - 2);
}

std::uint64_t Moves::all_to_all(const Operation& operation) {
  const auto& [send, receive] = std::pair(operation.send, operation.receive);
  const auto type = nccl_type(send.type);
  const auto width = size_of(send.type);
  const auto from = detail::offsets_of(operation.counts);
  const auto to = detail::offsets_of(operation.receive_counts);
  const auto own = at(who_.rank);
  copy(receive.data + to[own] * width, send.data + from[own] * width,
       operation.counts[own] * width);
  comm_.launch("an all-to-all by ncclSend", operation.deadline, [&](ncclComm_t comm) {
    for (int peer = 0; peer < who_.size; ++peer) {
      if (peer == who_.rank) continue;
      const auto p = at(peer);
      if (operation.counts[p] > 0) {
        check(ncclSend(send.data + from[p] * width, operation.counts[p], type, peer, comm,
                       comm_.stream()),
              "ncclSend", comm);
      }
      if (operation.receive_counts[p] > 0) {
        check(ncclRecv(receive.data + to[p] * width, operation.receive_counts[p], type, peer, comm,
                       comm_.stream()),
              "ncclRecv", comm);
      }
    }
  });
  return (send.count - operation.counts[own]) * width;
}

void Moves::gather_and_reduce(const Operation& operation) {
  const auto& send = operation.send;
  const auto stride = round_up(send.bytes());
  auto* blocks = scratch_.get(stride * at(who_.size));
  // NCCL packs the blocks; bytes behind a block's end fill the stride.
  auto* own = blocks + at(who_.rank) * stride;
  copy(own, send.data, send.bytes());
  comm_.launch("ncclAllGather", operation.deadline, [&](ncclComm_t comm) {
    check(ncclAllGather(own, blocks, stride, ncclUint8, comm, comm_.stream()), "ncclAllGather",
          comm);
  });
  reduce_blocks(send.type, operation.op, blocks, stride, who_.size, operation.receive.data,
                send.count, comm_.stream());
}

void Moves::reduce_own(const Operation& operation, std::span<const std::size_t> counts,
                       std::byte* out) {
  const auto& send = operation.send;
  const auto width = size_of(send.type);
  const auto type = nccl_type(send.type);
  const auto offsets = detail::offsets_of(counts);
  const auto own = at(who_.rank);
  const auto largest = *std::ranges::max_element(counts);
  const auto piece = std::max(scratch_bytes_max / at(who_.size) / alignment * alignment / width,
                              alignment / width);
  const auto stride = round_up(std::min(piece, largest) * width);
  auto* blocks = scratch_.get(stride * at(who_.size));
  // All ranks take as many turns, whatever they have in each.
  for (std::size_t begin = 0; begin < largest; begin += piece) {
    const auto count_of = [&](int rank) {
      return std::min(piece, counts[at(rank)] - std::min(begin, counts[at(rank)]));
    };
    const auto piece_of = [&](int rank) { return send.data + (offsets[at(rank)] + begin) * width; };
    const auto count = count_of(who_.rank);
    if (count > 0) copy(blocks + own * stride, piece_of(who_.rank), count * width);
    comm_.launch("a reduce-scatter by ncclSend", operation.deadline, [&](ncclComm_t comm) {
      for (int peer = 0; peer < who_.size; ++peer) {
        if (peer == who_.rank) continue;
        if (count_of(peer) > 0) {
          check(ncclSend(piece_of(peer), count_of(peer), type, peer, comm, comm_.stream()),
                "ncclSend", comm);
        }
        if (count > 0) {
          check(ncclRecv(blocks + at(peer) * stride, count, type, peer, comm, comm_.stream()),
                "ncclRecv", comm);
        }
      }
    });
    reduce_blocks(send.type, operation.op, blocks, stride, who_.size, out + begin * width, count,
                  comm_.stream());
  }
}

void Moves::copy(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (bytes == 0 || to == from) return;
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, comm_.stream()),
        "cudaMemcpyAsync");
}

}  // namespace train::nccl

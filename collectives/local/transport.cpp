#include "collectives/local/transport.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "collectives/error.hpp"
#include "collectives/ordered/blocks.hpp"
#include "collectives/ordered/reduce.hpp"

namespace train::local {

using detail::Kind;
using detail::Operation;

namespace {

void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, bytes);
}

std::size_t at(int rank) {
  return static_cast<std::size_t>(rank);
}

}  // namespace

LocalTransport::LocalTransport(Room room, int rank)
    : room_(std::move(room)), who_{room_.group->name(), rank, room_.group->size()} {}

std::vector<detail::Arrival> LocalTransport::meet(const Operation& operation) {
  return room_.group->meet(who_, operation);
}

std::uint64_t LocalTransport::move(const Operation& operation) {
  std::uint64_t bytes = 0;
  switch (operation.kind) {
    case Kind::all_reduce:
      bytes = all_reduce(operation);
      break;
    case Kind::reduce_scatter:
      bytes = reduce_scatter(operation);
      break;
    case Kind::all_gather:
      bytes = all_gather(operation);
      break;
    case Kind::broadcast:
      bytes = broadcast(operation);
      break;
    case Kind::all_to_all:
      bytes = all_to_all(operation);
      break;
    case Kind::barrier:
      break;
    case Kind::split:
      unreachable("split moves no data");
  }
  // Nobody's buffers may be freed or written while another rank still reads them.
  room_.group->sync();
  return bytes;
}

void LocalTransport::reduce_share(const Operation& operation, std::size_t first, std::size_t count,
                                  std::byte* destination) const {
  const auto offset = first * size_of(operation.send.type);
  std::vector<const std::byte*> sources;
  for (int rank = 0; rank < who_.size; ++rank) {
    const auto* data = room_.group->operation_of(rank).send.data;
    sources.push_back(data ? data + offset : nullptr);
  }
  detail::reduce(operation.send.type, operation.op, sources, destination, count);
}

std::uint64_t LocalTransport::all_reduce(const Operation& operation) {
  const auto blocks = detail::even_blocks(operation.send.count, who_.size);
  const auto offsets = detail::offsets_of(blocks);
  const auto width = size_of(operation.send.type);
  const auto own = at(who_.rank);
  // In place is safe: block r of every buffer is read by rank r alone.
  if (blocks[own] > 0) {
    reduce_share(operation, offsets[own], blocks[own],
                 operation.receive.data + offsets[own] * width);
  }
  room_.group->sync();
  for (int rank = 0; rank < who_.size; ++rank) {
    if (rank == who_.rank || blocks[at(rank)] == 0) continue;
    const auto offset = offsets[at(rank)] * width;
    copy_bytes(operation.receive.data + offset,
               room_.group->operation_of(rank).receive.data + offset, blocks[at(rank)] * width);
  }
  return (operation.send.count - blocks[own] + (at(who_.size) - 1) * blocks[own]) * width;
}

std::uint64_t LocalTransport::reduce_scatter(const Operation& operation) {
  const auto own = at(who_.rank);
  const auto offsets = detail::offsets_of(operation.counts);
  if (operation.counts[own] > 0) {
    reduce_share(operation, offsets[own], operation.counts[own], operation.receive.data);
  }
  return (operation.send.count - operation.counts[own]) * size_of(operation.send.type);
}

std::uint64_t LocalTransport::all_gather(const Operation& operation) {
  const auto offsets = detail::offsets_of(operation.counts);
  const auto width = size_of(operation.send.type);
  for (int rank = 0; rank < who_.size; ++rank) {
    if (operation.counts[at(rank)] == 0) continue;
    copy_bytes(operation.receive.data + offsets[at(rank)] * width,
               room_.group->operation_of(rank).send.data, operation.counts[at(rank)] * width);
  }
  return (at(who_.size) - 1) * operation.send.bytes();
}

std::uint64_t LocalTransport::broadcast(const Operation& operation) {
  if (who_.rank == operation.root) return who_.size > 1 ? operation.send.bytes() : 0;
  copy_bytes(operation.receive.data, room_.group->operation_of(operation.root).send.data,
             operation.receive.bytes());
  const auto shares = detail::even_blocks(operation.send.count, who_.size - 1);
  const auto own = at(who_.rank < operation.root ? who_.rank : who_.rank - 1);
  return shares[own] * size_of(operation.send.type) * (at(who_.size) - 2);
}

std::uint64_t LocalTransport::all_to_all(const Operation& operation) {
  const auto offsets = detail::offsets_of(operation.receive_counts);
  const auto width = size_of(operation.send.type);
  for (int rank = 0; rank < who_.size; ++rank) {
    if (operation.receive_counts[at(rank)] == 0) continue;
    const auto& peer = room_.group->operation_of(rank);
    const auto from = detail::offsets_of(peer.counts)[at(who_.rank)];
    copy_bytes(operation.receive.data + offsets[at(rank)] * width, peer.send.data + from * width,
               operation.receive_counts[at(rank)] * width);
  }
  return (operation.send.count - operation.counts[at(who_.rank)]) * width;
}

std::shared_ptr<detail::Transport> LocalTransport::split(const Operation& operation,
                                                         std::span<const int> members) {
  std::optional<Room> part;
  if (!members.empty()) {
    part = room_.parts->get(members.front(), operation.name, static_cast<int>(members.size()));
  }
  room_.group->sync();
  if (who_.rank == 0) room_.parts->clear();
  room_.group->sync();
  if (!part) return nullptr;
  const auto rank = std::ranges::find(members, who_.rank) - members.begin();
  return std::make_shared<LocalTransport>(*part, static_cast<int>(rank));
}

std::shared_ptr<Work::State> LocalTransport::send(ConstBuffer buffer, int peer, int tag,
                                                  Deadline deadline) {
  return room_.mailbox->send(who_.rank, buffer, peer, tag, deadline);
}

std::shared_ptr<Work::State> LocalTransport::receive(Buffer buffer, int peer, int tag,
                                                     Deadline deadline) {
  return room_.mailbox->receive(who_.rank, buffer, peer, tag, deadline);
}

void LocalTransport::fail(const detail::Fault& why) noexcept {
  room_.group->fail(who_.rank, why.message);
}

void LocalTransport::leave() noexcept {
  room_.mailbox->drain(who_.rank);
  room_.group->leave(who_.rank);
}

}  // namespace train::local

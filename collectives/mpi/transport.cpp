#include "collectives/mpi/transport.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "collectives/error.hpp"
#include "collectives/mpi/tags.hpp"
#include "collectives/mpi/transfers.hpp"
#include "collectives/ordered/blocks.hpp"
#include "collectives/ordered/reduce.hpp"

namespace train::mpi {

using detail::Arrival;
using detail::Kind;
using detail::Operation;
using detail::Signature;

namespace {

// Messages up to this many bytes travel with the signatures: one hop instead of two or three, and
// still small enough for Open MPI to send without asking the receiver (4 KiB in shared memory).
constexpr std::size_t inline_bytes_max = 2048;
// What a transport above may have a rank bring along.
constexpr std::size_t attached_bytes_max = 256;

std::size_t at(int rank) {
  return static_cast<std::size_t>(rank);
}

std::size_t details_bytes_max(int size) {
  return std::max(detail::detail_count(Kind::all_to_all, size),
                  detail::detail_count(Kind::split, size)) *
             sizeof(std::uint64_t) +
         attached_bytes_max;
}

// Whether payloads travel inlined: from values on which the ranks agree, or else fail.
bool is_inlined(const Operation& operation) {
  if (operation.place == detail::Place::device) return false;
  switch (operation.kind) {
    case Kind::all_reduce:
    case Kind::reduce_scatter:
    case Kind::broadcast:
      return operation.send.bytes() <= inline_bytes_max;
    case Kind::all_gather:
      return operation.receive.bytes() <= inline_bytes_max;
    case Kind::all_to_all:
    case Kind::barrier:
    case Kind::split:
      return false;
  }
  unreachable("unknown Kind");
}

std::size_t inlined_bytes(const Operation& operation, int rank) {
  if (!is_inlined(operation)) return 0;
  if (operation.kind == Kind::broadcast && rank != operation.root) return 0;
  return operation.send.bytes();
}

}  // namespace

MpiTransport::MpiTransport(std::shared_ptr<Channel> channel)
    : channel_(std::move(channel)),
      messages_(channel_),
      slot_bytes_(sizeof(Signature) + std::max(inline_bytes_max, details_bytes_max(who().size))),
      slots_(slot_bytes_ * at(who().size)) {}

std::vector<Arrival> MpiTransport::meet(const Operation& operation) {
  const auto size = who().size;
  const auto rank = who().rank;
  const auto own = detail::arrival_of(operation);
  const auto details_bytes = own.details.size() * sizeof(std::uint64_t);
  const auto payload_bytes = inlined_bytes(operation, rank);
  ++met_;

  std::memcpy(slot(rank), &own.signature, sizeof(Signature));
  if (details_bytes) std::memcpy(slot(rank) + sizeof(Signature), own.details.data(), details_bytes);
  if (payload_bytes) {
    std::memcpy(slot(rank) + sizeof(Signature), operation.send.data, payload_bytes);
  }
  Requests arrivals;
  const auto bytes = sizeof(Signature) + details_bytes + payload_bytes;
  for (int i = 1; i < size; ++i) {
    const int peer = (rank + i) % size;
    arrivals.receive(channel_->comm(), slot(peer), slot_bytes_, peer, meet_tag);
    meeting_.send(channel_->comm(), slot(rank), bytes, peer, meet_tag);
  }
  const auto all_here = [&] { return arrivals.test_all() && meeting_.test_all(); };
  if (!channel_->wait(all_here, operation.deadline, operation.sequence)) {
    auto missing = arrivals.unfinished_peers();
    if (missing.empty()) missing = meeting_.unfinished_peers();
    throw Error(detail::describe_stall(who(), operation, missing));
  }

  std::vector<Arrival> result(at(size));
  for (int peer = 0; peer < size; ++peer) {
    auto& arrival = result[at(peer)];
    std::memcpy(&arrival.signature, slot(peer), sizeof(Signature));
    arrival.details.resize(detail::detail_count(arrival.signature.kind, size) +
                           arrival.signature.attached);
    if (!arrival.details.empty()) {
      std::memcpy(arrival.details.data(), slot(peer) + sizeof(Signature),
                  arrival.details.size() * sizeof(std::uint64_t));
    }
  }
  return result;
}

const std::byte* MpiTransport::inlined(int rank) const {
  return slots_.data() + at(rank) * slot_bytes_ + sizeof(Signature);
}

std::uint64_t MpiTransport::move(const Operation& operation) {
  // A rank that comes late finds everyone's arrival, though they may have given up on it since.
  channel_->throw_if_peer_gone();
  if (is_inlined(operation)) return move_inlined(operation);
  switch (operation.kind) {
    case Kind::all_reduce:
      return mpi::all_reduce(*channel_, operation);
    case Kind::reduce_scatter:
      return mpi::reduce_scatter(*channel_, operation);
    case Kind::all_gather:
      return mpi::all_gather(*channel_, operation);
    case Kind::broadcast:
      return mpi::broadcast(*channel_, operation);
    case Kind::all_to_all:
      return mpi::all_to_all(*channel_, operation);
    case Kind::barrier:
      return 0;  // to have met is all of it
    case Kind::split:
      unreachable("split moves no data");
  }
  unreachable("unknown Kind");
}

std::uint64_t MpiTransport::move_inlined(const Operation& operation) const {
  const auto rank = who().rank;
  const auto width = size_of(operation.send.type);
  if (operation.kind == Kind::broadcast) {
    if (rank != operation.root && operation.receive.count > 0) {
      std::memcpy(operation.receive.data, inlined(operation.root), operation.receive.bytes());
    }
  } else if (operation.kind == Kind::all_gather) {
    const auto offsets = detail::offsets_of(operation.counts);
    for (int peer = 0; peer < who().size; ++peer) {
      const auto bytes = operation.counts[at(peer)] * width;
      if (bytes == 0) continue;
      std::memcpy(operation.receive.data + offsets[at(peer)] * width, inlined(peer), bytes);
    }
  } else {
    const bool scattered = operation.kind == Kind::reduce_scatter;
    const auto first = scattered ? detail::offsets_of(operation.counts)[at(rank)] : 0;
    std::vector<const std::byte*> sources;
    for (int peer = 0; peer < who().size; ++peer) sources.push_back(inlined(peer) + first * width);
    detail::reduce(operation.send.type, operation.op, sources, operation.receive.data,
                   operation.receive.count);
  }
  return inlined_bytes(operation, rank) * (at(who().size) - 1);
}

std::shared_ptr<detail::Transport> MpiTransport::split(const Operation& operation,
                                                       std::span<const int> members) {
  // MPI's own call knows no deadline, but all ranks have met and go straight to it.
  channel_->throw_if_peer_gone();
  const auto found = std::ranges::find(members, who().rank);
  const auto rank = static_cast<int>(found - members.begin());
  auto comm = mpi::split(channel_->comm(), members.empty() ? MPI_UNDEFINED : operation.color, rank);
  if (members.empty()) return nullptr;
  detail::Membership part{operation.name, rank, static_cast<int>(members.size())};
  return std::make_shared<MpiTransport>(
      channel_->channels().make(std::move(comm), std::move(part)));
}

std::shared_ptr<Work::State> MpiTransport::send(ConstBuffer buffer, int peer, int tag,
                                                Deadline deadline) {
  return messages_.send(buffer, peer, tag, deadline);
}

std::shared_ptr<Work::State> MpiTransport::receive(Buffer buffer, int peer, int tag,
                                                   Deadline deadline) {
  return messages_.receive(buffer, peer, tag, deadline);
}

void MpiTransport::fail(const detail::Fault& why) noexcept {
  channel_->fail(why);
  messages_.fail(why);
}

void MpiTransport::leave() noexcept {
  if (!channel_->failed()) messages_.drain();
  channel_->leave(met_);
  channel_->free_staging();
}

}  // namespace train::mpi

#include "collectives/mpi/transfers.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/mpi/tags.hpp"
#include "collectives/ordered/blocks.hpp"

namespace train::mpi {

using detail::Operation;

namespace {

std::size_t at(int rank) {
  return static_cast<std::size_t>(rank);
}

}  // namespace

void await(Channel& channel, const Operation& operation, Requests& requests) {
  if (channel.wait([&] { return requests.test_all(); }, operation.deadline)) return;
  const auto behind = requests.unfinished_peers();
  if (behind.empty()) return;  // they came at the last moment
  const auto& who = channel.who();
  const std::chrono::duration<double> elapsed = Clock::now() - operation.called;
  throw Error(
      fmt::format("{} in group '{}' (sequence {}) stalled on rank {} of {} while data moved: "
                  "the exchange with {} did not end within {:.2f} s",
                  describe(arrival_of(operation).signature), who.group, operation.sequence,
                  who.rank, who.size, detail::list_ranks(behind), elapsed.count()));
}

std::uint64_t all_gather(Channel& channel, const Operation& operation) {
  const auto& who = channel.who();
  const auto width = size_of(operation.send.type);
  const auto offsets = detail::offsets_of(operation.counts);
  Requests requests;
  for (int i = 1; i < who.size; ++i) {
    const int from = (who.rank - i + who.size) % who.size;
    const int to = (who.rank + i) % who.size;
    const auto bytes = operation.counts[at(from)] * width;
    if (bytes > 0) {
      requests.receive(channel.comm(), operation.receive.data + offsets[at(from)] * width, bytes,
                       from, gather_tag);
    }
    if (operation.send.count > 0) {
      requests.send(channel.comm(), operation.send.data, operation.send.bytes(), to, gather_tag);
    }
  }
  if (operation.send.count > 0) {
    auto* own = operation.receive.data + offsets[at(who.rank)] * width;
    if (own != operation.send.data) {
      std::memcpy(own, operation.send.data, operation.send.bytes());
    }
  }
  await(channel, operation, requests);
  return operation.send.bytes() * (at(who.size) - 1);
}

std::uint64_t all_to_all(Channel& channel, const Operation& operation) {
  const auto& who = channel.who();
  const auto width = size_of(operation.send.type);
  const auto send_offsets = detail::offsets_of(operation.counts);
  const auto receive_offsets = detail::offsets_of(operation.receive_counts);
  Requests requests;
  for (int i = 1; i < who.size; ++i) {
    const auto from = at((who.rank - i + who.size) % who.size);
    const auto to = at((who.rank + i) % who.size);
    if (operation.receive_counts[from] > 0) {
      requests.receive(channel.comm(), operation.receive.data + receive_offsets[from] * width,
                       operation.receive_counts[from] * width, static_cast<int>(from), scatter_tag);
    }
    if (operation.counts[to] > 0) {
      requests.send(channel.comm(), operation.send.data + send_offsets[to] * width,
                    operation.counts[to] * width, static_cast<int>(to), scatter_tag);
    }
  }
  const auto own = at(who.rank);
  if (operation.counts[own] > 0) {
    std::memcpy(operation.receive.data + receive_offsets[own] * width,
                operation.send.data + send_offsets[own] * width, operation.counts[own] * width);
  }
  await(channel, operation, requests);
  return (operation.send.count - operation.counts[own]) * width;
}

}  // namespace train::mpi

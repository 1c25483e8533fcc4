#include "collectives/ordered/agreement.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::detail {
namespace {

// FNV-1a over whole counts.
std::uint64_t hash_of(std::span<const std::size_t> counts) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::uint64_t count : counts) hash = (hash ^ count) * 0x100000001b3u;
  return hash;
}

bool has_blocks(Kind kind) {
  return kind == Kind::reduce_scatter || kind == Kind::all_gather;
}

// What the ranks called, each call once, in the order of the first rank that made it.
std::string list_calls(std::span<const Arrival> arrivals) {
  std::vector<std::pair<Signature, std::vector<int>>> calls;
  for (std::size_t rank = 0; rank < arrivals.size(); ++rank) {
    const auto& signature = arrivals[rank].signature;
    auto same = std::ranges::find_if(calls, [&](const auto& call) {
      return call.first == signature && call.first.place == signature.place;
    });
    if (same == calls.end()) same = calls.insert(same, {signature, {}});
    same->second.push_back(static_cast<int>(rank));
  }
  std::string text;
  for (const auto& [signature, ranks] : calls) {
    text += fmt::format("{}{} called {}", text.empty() ? "" : "; ", list_ranks(ranks),
                        describe(signature));
  }
  return text;
}

// Where the first rank that has elements has them.
Place first_place(std::span<const Arrival> arrivals) {
  for (const auto& arrival : arrivals) {
    if (arrival.signature.place != Place::nowhere) return arrival.signature.place;
  }
  return Place::nowhere;
}

std::string describe_call(const Signature& signature) {
  const auto* kind = name_of(signature.kind);
  const auto* type = name_of(signature.type);
  const auto* op = name_of(signature.op);
  switch (signature.kind) {
    case Kind::all_reduce:
      return fmt::format("{}({}, {}, count {})", kind, op, type, signature.count);
    case Kind::reduce_scatter:
      return fmt::format("{}({}, {}, count {}, blocks #{:x})", kind, op, type, signature.count,
                         signature.blocks_hash);
    case Kind::all_gather:
      return fmt::format("{}({}, count {}, blocks #{:x})", kind, type, signature.count,
                         signature.blocks_hash);
    case Kind::broadcast:
      return fmt::format("{}({}, count {}, root {})", kind, type, signature.count, signature.root);
    case Kind::all_to_all:
      return fmt::format("{}({})", kind, type);
    case Kind::barrier:
    case Kind::split:
      return fmt::format("{}()", kind);
  }
  unreachable("unknown Kind");
}

void require_matching_counts(const Membership& who, std::span<const Arrival> arrivals) {
  const auto n = arrivals.size();
  for (std::size_t from = 0; from < n; ++from) {
    for (std::size_t to = 0; to < n; ++to) {
      const auto sent = arrivals[from].details[to];
      const auto expected = arrivals[to].details[n + from];
      if (sent == expected) continue;
      throw Error(fmt::format(
          "ranks of group '{}' disagree on {} (sequence {}): rank {} sends {} elements to rank {}, "
          "which expects {} (seen by rank {})",
          who.group, describe(arrivals[from].signature), arrivals[from].signature.sequence, from,
          sent, to, expected, who.rank));
    }
  }
}

}  // namespace

Arrival arrival_of(const Operation& operation) {
  Arrival arrival;
  auto& signature = arrival.signature;
  signature.sequence = operation.sequence;
  signature.kind = operation.kind;
  signature.op = operation.op;
  signature.type = operation.send.type;
  signature.root = operation.root;
  signature.place = operation.place;
  signature.attached = static_cast<std::uint32_t>(operation.attached.size());
  switch (operation.kind) {
    case Kind::all_reduce:
    case Kind::reduce_scatter:
    case Kind::broadcast:
      signature.count = operation.send.count;
      break;
    case Kind::all_gather:
      signature.count = operation.receive.count;
      break;
    case Kind::all_to_all:
      arrival.details.assign(operation.counts.begin(), operation.counts.end());
      arrival.details.insert(arrival.details.end(), operation.receive_counts.begin(),
                             operation.receive_counts.end());
      break;
    case Kind::barrier:
      break;
    case Kind::split:
      arrival.details = {static_cast<std::uint64_t>(operation.color),
                         static_cast<std::uint64_t>(operation.key)};
      break;
  }
  if (has_blocks(operation.kind)) signature.blocks_hash = hash_of(operation.counts);
  arrival.details.insert(arrival.details.end(), operation.attached.begin(),
                         operation.attached.end());
  return arrival;
}

std::size_t detail_count(Kind kind, int size) {
  if (kind == Kind::all_to_all) return 2 * static_cast<std::size_t>(size);
  return kind == Kind::split ? 2 : 0;
}

Place place_of(std::span<const Arrival> arrivals) {
  return first_place(arrivals);
}

bool Signature::operator==(const Signature& other) const {
  return sequence == other.sequence && count == other.count && blocks_hash == other.blocks_hash &&
         root == other.root && kind == other.kind && op == other.op && type == other.type;
}

std::string describe(const Signature& signature) {
  const auto* where = signature.place == Place::device ? " on the device" : "";
  return describe_call(signature) + where;
}

std::string list_ranks(std::span<const int> ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size();) {
    auto last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (i > 0) text += ", ";
    text += fmt::format("{}", ranks[i]);
    if (last > i) text += fmt::format("{}{}", last > i + 1 ? "-" : ", ", ranks[last]);
    i = last + 1;
  }
  return text;
}

void require_agreement(const Membership& who, std::span<const Arrival> arrivals) {
  const auto& first = arrivals.front().signature;
  const auto place = first_place(arrivals);
  const bool same = std::ranges::all_of(arrivals, [&](const Arrival& arrival) {
    const auto& signature = arrival.signature;
    return signature == first && (signature.place == place || signature.place == Place::nowhere);
  });
  if (!same) {
    throw Error(fmt::format(
        "ranks of group '{}' disagree at sequence {}: {}. Every rank must make the same calls in "
        "the same order (seen by rank {})",
        who.group, first.sequence, list_calls(arrivals), who.rank));
  }
  if (first.kind == Kind::all_to_all) require_matching_counts(who, arrivals);
}

std::vector<int> members_of(std::span<const Arrival> arrivals, int color) {
  std::vector<int> members;
  if (color < 0) return members;
  const auto color_of = [&](int rank) {
    return static_cast<int>(arrivals[static_cast<std::size_t>(rank)].details[0]);
  };
  const auto key_of = [&](int rank) {
    return static_cast<int>(arrivals[static_cast<std::size_t>(rank)].details[1]);
  };
  for (int rank = 0; rank < static_cast<int>(arrivals.size()); ++rank) {
    if (color_of(rank) == color) members.push_back(rank);
  }
  std::ranges::stable_sort(members, {}, key_of);
  return members;
}

std::string describe_stall(const Membership& who, const Operation& operation,
                           std::span<const int> missing) {
  const std::chrono::duration<double> elapsed = Clock::now() - operation.called;
  if (missing.empty()) {
    return fmt::format(
        "{} in group '{}' (sequence {}) stalled on rank {} of {}: this rank was held up itself, "
        "for up to {:.2f} s, and has what the others sent. See whether it was stopped, or its "
        "machine swaps, or raise the deadline with set_timeout",
        describe(arrival_of(operation).signature), who.group, operation.sequence, who.rank,
        who.size, elapsed.count());
  }
  return fmt::format(
      "{} in group '{}' (sequence {}) stalled on rank {} of {}: {} did not arrive within {:.2f} s. "
      "Look at what {} did instead, or raise the deadline with set_timeout",
      describe(arrival_of(operation).signature), who.group, operation.sequence, who.rank, who.size,
      list_ranks(missing), elapsed.count(), missing.size() == 1 ? "it" : "they");
}

}  // namespace train::detail

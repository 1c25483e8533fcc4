#include "libtrain/rounds/cluster_status.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/wide/protocol/message_fields.hpp"

namespace train {
namespace {

using Stage = LaneExchange::Stage;
using FetchStage = LaneLinks::FetchStage;

// A text of any length; those of the wire are short.
struct Text {
  std::string text;
};
template <typename Archive>
void fields(Archive& archive, Text& text) {
  if constexpr (std::is_same_v<Archive, wide::Writer>) {
    std::string cut = text.text.substr(0, wide::text_bytes_max);
    archive(cut);
  } else {
    archive(text.text);
  }
}

struct Moved {
  std::string cluster;
  WideTraffic::Bytes bytes;
};
template <typename Archive>
void fields(Archive& archive, Moved& moved) {
  archive(moved.cluster, moved.bytes.sent, moved.bytes.received, moved.bytes.promised);
}

template <typename Archive>
void fields(Archive& archive, RankStatus& status) {
  auto stage = static_cast<std::uint8_t>(status.exchange.stage);
  auto fetch = static_cast<std::uint8_t>(status.fetch);
  auto squares = std::bit_cast<std::uint64_t>(status.mean_squares);
  Text fatal{status.exchange.fatal}, replaced{status.replaced};
  std::vector<Moved> moved;
  for (const auto& [cluster, bytes] : status.traffic.with) moved.push_back({cluster, bytes});
  archive(status.has_lane, stage, status.exchange.peer, fatal, fetch, status.links, squares, moved,
          status.bandwidth_kbit, status.leaves, replaced);
  for (const Moved& of : moved) status.traffic.with[of.cluster] = of.bytes;
  status.exchange.stage = static_cast<Stage>(stage);
  status.exchange.fatal = fatal.text;
  status.replaced = replaced.text;
  status.fetch = static_cast<FetchStage>(fetch);
  status.mean_squares = std::bit_cast<double>(squares);
}

std::vector<RankStatus> gather_all(Communicator& cluster, const RankStatus& own) {
  std::vector<RankStatus> all{own};
  if (cluster.size() == 1) return all;
  const auto ranks = static_cast<std::size_t>(cluster.size());
  wide::Writer writer;
  RankStatus copy = own;
  fields(writer, copy);
  std::vector<std::int64_t> lengths(ranks);
  const std::array<std::int64_t, 1> length{static_cast<std::int64_t>(writer.bytes.size())};
  const std::vector<std::size_t> ones(ranks, 1);
  cluster.all_gather(std::span(length), std::span(lengths), ones).wait();
  std::vector<std::size_t> counts(lengths.begin(), lengths.end());
  std::size_t total = 0;
  for (const std::size_t count : counts) total += count;
  wide::Bytes bytes(total);
  cluster
      .all_gather({writer.bytes.data(), writer.bytes.size(), DataType::u8},
                  {bytes.data(), bytes.size(), DataType::u8}, counts)
      .wait();
  all.assign(ranks, {});
  std::size_t at = 0;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    wide::Reader reader(std::span<const std::byte>(bytes).subspan(at, counts[rank]));
    fields(reader, all[rank]);
    invariant(reader.complete(), "a rank's status reads as it was written");
    at += counts[rank];
  }
  return all;
}

void merge_links(std::vector<wide::LinkInfo>& all, const std::vector<wide::LinkInfo>& lane) {
  std::erase_if(all, [&](wide::LinkInfo& link) {
    const auto same = std::ranges::find(lane, link.peer, &wide::LinkInfo::peer);
    if (same == lane.end()) return true;
    link.rtt_us = std::max(link.rtt_us, same->rtt_us);
    return false;
  });
}

}  // namespace

ClusterStatus gather_status(Communicator& cluster, const RankStatus& own) {
  ClusterStatus status;
  bool first = true, all_measured = true;
  int number = -1;
  for (RankStatus& rank : gather_all(cluster, own)) {
    ++number;
    status.leaves = status.leaves || rank.leaves;
    if (!rank.has_lane) continue;
    // The first rank is the one to say it.
    if (std::string& fatal = rank.exchange.fatal; !fatal.empty() && number > 0) {
      fatal = fmt::format("on rank {}, {}", number, fatal);
    }
    if (status.replaced.empty()) status.replaced = rank.replaced;
    status.traffic += rank.traffic;
    status.mean_squares += rank.mean_squares;
    status.bandwidth_kbit += rank.bandwidth_kbit;
    all_measured = all_measured && rank.bandwidth_kbit > 0;
    if (first) {
      status.exchange = rank.exchange;
      status.fetch = rank.fetch;
      status.links = std::move(rank.links);
      first = false;
      continue;
    }
    merge_links(status.links, rank.links);
    // A failure counts at once, an end when it is everybody's.
    const Stage stage = rank.exchange.stage;
    if (status.exchange.fatal.empty() &&
        (stage == Stage::failed || !rank.exchange.fatal.empty() ||
         (stage == Stage::running && status.exchange.stage == Stage::done))) {
      status.exchange = rank.exchange;
    }
    if (rank.fetch == FetchStage::failed ||
        (rank.fetch == FetchStage::running && status.fetch == FetchStage::done)) {
      status.fetch = rank.fetch;
    }
  }
  if (!all_measured) status.bandwidth_kbit = 0;
  return status;
}

}  // namespace train

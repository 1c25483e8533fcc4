#include "libtrain/agreement.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "collectives/error.hpp"

namespace train {
namespace {

std::string next_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string line(text.substr(0, end));
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

std::string first_said(Communicator& ranks, const std::string& text) {
  std::int64_t speaker = text.empty() ? ranks.size() : ranks.rank();
  const std::span<std::int64_t> speaker_place(&speaker, 1);
  ranks.all_reduce(speaker_place, speaker_place, ReduceOp::min).wait();
  if (speaker == ranks.size()) return "";
  const int root = static_cast<int>(speaker);
  auto length = static_cast<std::int64_t>(text.size());
  ranks.broadcast(std::span<std::int64_t>(&length, 1), root).wait();
  std::vector<std::uint8_t> bytes(text.begin(), text.end());
  bytes.resize(static_cast<std::size_t>(length));
  ranks.broadcast(std::span(bytes), root).wait();
  return {bytes.begin(), bytes.end()};
}

void require_same(Communicator& ranks, std::span<const std::string> facts) {
  if (ranks.size() == 1) return;
  const std::string mine = fmt::format("{}", fmt::join(facts, "\n"));
  const std::string theirs = first_said(ranks, ranks.rank() == 0 ? mine : "");
  std::string difference;
  std::string_view own = mine, first = theirs;
  while (difference.empty() && own != first) {
    const std::string here = next_line(own), there = next_line(first);
    if (here == there) continue;
    difference = fmt::format("rank {} has {}, rank 0 has {}", ranks.rank(), here, there);
  }
  const std::string found = first_said(ranks, difference);
  if (found.empty()) return;
  throw Error(fmt::format(
      "the ranks were not given the same: {}. Start all with the same flags, files and program",
      found));
}

}  // namespace train

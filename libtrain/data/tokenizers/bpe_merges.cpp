#include "libtrain/data/tokenizers/bpe_merges.hpp"

#include <compare>
#include <limits>
#include <queue>

#include "collectives/error.hpp"

namespace train::detail {
namespace {

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

/// A merge that was possible when it was queued.
struct Candidate {
  std::uint32_t rank;
  std::uint32_t left;  // index of the left symbol

  auto operator<=>(const Candidate&) const = default;
};

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

struct Neighbours {
  std::uint32_t before;
  std::uint32_t after;
};

}  // namespace

bool BpeMerges::add(BpeMerge merge) {
  const auto rank = static_cast<std::uint32_t>(merges_.size());
  if (!ranks_.emplace(key_of(merge.left, merge.right), rank).second) return false;
  merges_.push_back(merge);
  return true;
}

std::uint32_t BpeMerges::rank_of(std::int32_t left, std::int32_t right) const {
  const auto found = ranks_.find(key_of(left, right));
  return found == ranks_.end() ? kNoRank : found->second;
}

void BpeMerges::apply(std::vector<std::int32_t>& symbols) const {
  const std::size_t count = symbols.size();
  if (count < 2) return;
  if (count >= kNone) throw Error("a piece of text without a break is longer than 4 GiB");

  // A merged pair lives on in its left symbol; the right one leaves the list.
  std::vector<Neighbours> links(count);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](std::uint32_t left) {
    if (left == kNone || links[left].after == kNone) return;
    const std::uint32_t rank = rank_of(symbols[left], symbols[links[left].after]);
    if (rank != kNoRank) queue.push({rank, left});
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    links[i] = {i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
  }
  for (std::uint32_t i = 0; i < count; ++i) consider(i);

  constexpr std::int32_t kGone = -1;
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    const std::uint32_t right = links[best.left].after;
    if (symbols[best.left] == kGone || right == kNone) continue;
    // Stale if either side has merged since; a rank belongs to one pair of symbols.
    if (rank_of(symbols[best.left], symbols[right]) != best.rank) continue;
    symbols[best.left] = merges_[best.rank].merged;
    symbols[right] = kGone;
    links[best.left].after = links[right].after;
    if (links[right].after != kNone) links[links[right].after].before = best.left;
    consider(links[best.left].before);
    consider(best.left);
  }
  std::erase(symbols, kGone);
}

}  // namespace train::detail

#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace train::detail {

/// Two neighbours and the token they become.
struct BpeMerge {
  std::int32_t left;
  std::int32_t right;
  std::int32_t merged;
};

/// The learned merges of a byte-pair encoding (Sennrich, Haddow and Birch, "Neural Machine
/// Translation of Rare Words with Subword Units", 2016): which two neighbours become which token,
/// and which merge goes first.
class BpeMerges {
 public:
  /// Appends the next merge, weaker than all before. False if the pair has one already.
  bool add(BpeMerge merge);

  /// Strongest first, as they were added.
  std::span<const BpeMerge> in_order() const { return merges_; }

  /// Merges neighbours in `symbols` until none is left to merge: always the strongest merge, the
  /// leftmost of equals. O(n log n).
  void apply(std::vector<std::int32_t>& symbols) const;

 private:
  /// The rank of the merge of two symbols; kNoRank if they stay apart.
  std::uint32_t rank_of(std::int32_t left, std::int32_t right) const;

  static constexpr std::uint32_t kNoRank = 0xffffffffu;

  std::vector<BpeMerge> merges_;  // by rank
  std::unordered_map<std::uint64_t, std::uint32_t> ranks_;
};

}  // namespace train::detail

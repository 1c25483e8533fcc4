#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace train {

/// Which source of a mixture each position of the sample order reads: a fixed pattern without an
/// end, the same for every seed, computed point by point.
///
/// Sources stand at the leaves of a Huffman tree of their weights. An inner node of weight t gives
/// its lighter child, of weight p, floor(n p / t) of its first n positions and the other child the
/// rest, so both are spread evenly. Such a split errs by less than one position in any window and
/// hands an error on in proportion; and in a Huffman tree an inner node has at most two thirds of
/// its parent's weight. So errors stay below 3 at inner nodes and below 4 at sources: of any n
/// positions that follow each other, a source with the share w of all weights has w n, give or take
/// less than 4, however many sources there are. Shares are kept to 2^-31 in whole numbers, so that
/// all machines compute the same pattern: it costs one position more in 4 billion.
///
/// One source has all positions. A call costs as many divisions as the source lies deep, which is
/// about the logarithm of one over its share.
class MixturePattern {
 public:
  /// Weights count as parts of their sum. Throws Error for one that is not a positive, finite
  /// number, or is less than 2^-32 of the sum.
  explicit MixturePattern(const std::vector<double>& weights);

  std::size_t sources() const { return (nodes_.size() + 1) / 2; }

  /// A source's part of the sum, in units of 2^-31.
  std::uint64_t share(std::size_t source) const { return nodes_[source].weight; }

  struct Slot {
    std::size_t source;
    std::uint64_t index;  ///< of the positions that the source has, from 0
  };
  Slot at(std::uint64_t position) const;

  /// How many of the positions below `end` the source has: where it stands there.
  std::uint64_t count(std::size_t source, std::uint64_t end) const;

 private:
  struct Node {
    std::uint64_t weight;
    std::size_t lighter = 0, heavier = 0;  // children
    std::size_t parent = 0;
  };

  std::uint64_t count_at(std::size_t node, std::uint64_t end) const;
  std::uint64_t count_of_lighter(const Node& node, std::uint64_t end) const;

  std::vector<Node> nodes_;  // the sources in their order, then inner nodes; the root is the last
};

}  // namespace train

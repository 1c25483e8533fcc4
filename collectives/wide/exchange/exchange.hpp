#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "collectives/wide/exchange/exchange_feedback.hpp"
#include "collectives/wide/exchange/peers.hpp"

namespace train::wide {

/// What all clusters agree on before an exchange.
struct ExchangePlan {
  /// Values that each cluster sums for all, one after another from the first on; multiples of
  /// codec_block but for the last one that is not 0. They add up to the lane's values.
  std::vector<std::size_t> owned;
  /// What each cluster's values count for, tokens say: the result is Σ weight · value / Σ weight.
  std::vector<std::uint64_t> weights;
  /// Transfers take ids from here on, 2 for each chunk of each cluster's part: see ids_needed().
  std::uint64_t first_id = 0;
  std::size_t chunk_values = std::size_t{1} << 18;  ///< a multiple of codec_block
  /// Encoded bytes that are on their way to each cluster before the first chunk is waited for, in
  /// whole chunks: what a link holds in a round trip, its queues too, and more.
  std::size_t bytes_ahead = std::size_t{16} << 20;
};

/// Shares of `count` values in proportion to `speed` (bandwidths, in any unit), in whole blocks.
/// Integer arithmetic: the same on every cluster.
std::vector<std::size_t> owned_by_speed(std::size_t count, std::span<const std::uint64_t> speed);

/// How many ids one exchange takes.
std::uint64_t ids_needed(const ExchangePlan& plan);

/// Bytes that a cluster sends: its values to their owners, and the sums of its own part to all:
/// (n-1)/n and 1/n · (n-1) of the encoded lane when shares are even, together 2 (n-1)/n.
std::uint64_t bytes_sent(const ExchangePlan& plan, Codec codec, int cluster);

/// Bytes that exchange() has of the feedback's memory for encoded chunks, at its end: at most.
std::uint64_t buffer_bytes(const ExchangePlan& plan, Codec codec, int cluster);

/// The weighted mean of all clusters' values on every cluster, to the same bits: a direct
/// reduce-scatter and all-gather. Each cluster encodes its values once, error feedback included; an
/// owner sums what it decodes in f32 in the clusters' order, its own part as the others would see
/// it, and encodes the mean once, with a feedback of its own; everyone, the owner too, takes what
/// that decodes to. Chunks are under way in all directions while others are encoded, summed and
/// decoded.
///
/// `values` and `mean` have the lane's values and do not overlap. The feedback is neither committed
/// nor discarded: a retry after a failure, with whatever clusters are left, sends the same values
/// again, and with the same parts gives the same mean.
/// Memory: 6 · bytes_ahead per other cluster. Throws Error when a cluster fails,
/// and NotEncodable; `mean` then holds nothing of use, and no work is under way any more.
void exchange(Peers& peers, const ExchangePlan& plan, ExchangeFeedback& feedback,
              std::span<const float> values, std::span<float> mean);

}  // namespace train::wide

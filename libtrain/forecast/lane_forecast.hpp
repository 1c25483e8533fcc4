#pragma once

#include <cstdint>
#include <vector>

#include "libtrain/model/gpt_config.hpp"
#include "libtrain/rounds/round_options.hpp"

namespace train {

/// What the memory of a cluster's lanes depends on.
struct LaneShape {
  RoundOptions rounds = {};
  int ranks = 1;     ///< of the cluster
  int clusters = 2;  ///< of the job, this one among them
};

/// Bytes that a rank with a lane holds for it, in the host's memory: what it books as lanes', while
/// all clusters sum equally much. For c values of the lane, of which this cluster sums o, in f32:
///   outer state: parameters, and what the outer optimizer keeps      8 c; every step 12 c
///   feedback: what the codec has lost, and loses (not without one)   8 c + 8 o, and c / 256
///   values: what is sent, and its mean; with overlap a copy          8 c; 12 c
///   next: the outer state that an exchange makes                     8 c; every step 12 c
/// The latter two are those of the fragments under way; the last exchange of a job takes all.
/// A state that a newcomer is sent meanwhile stays until it has arrived: another 8 c or 12 c.
struct LaneForecast {
  std::int64_t outer_state = 0;
  std::int64_t feedback = 0;
  std::int64_t values = 0;
  /// The next outer state, or the encoded chunks before there is one, whichever is larger.
  std::int64_t result = 0;

  /// The most at once.
  std::int64_t peak() const { return outer_state + feedback + values + result; }
};

/// Of the cluster at this place of the job's. Throws Error where the model has too few parts for
/// the fragments, or the cluster too few ranks for the lanes.
LaneForecast forecast_lane(const GptConfig& config, const LaneShape& shape, int lane, int place);
/// Of the lane, and the cluster, that needs most.
LaneForecast forecast_lanes(const GptConfig& config, const LaneShape& shape);

/// Values of each of so many fragments of a model, in the order of their turns.
std::vector<std::int64_t> fragment_sizes(const GptConfig& config, int fragments);

}  // namespace train

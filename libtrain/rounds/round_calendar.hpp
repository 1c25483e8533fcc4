#pragma once

#include <cstdint>

#include "libtrain/rounds/fragments.hpp"
#include "libtrain/rounds/round_options.hpp"

namespace train {

/// Which inner steps of the schedule a round has, and which fragments its exchange takes: the same
/// in every cluster. With F fragments, inner_steps make F rounds, as even as whole steps allow, and
/// the fragments take turns: each is exchanged every inner_steps steps. The job's last exchange
/// takes all of them, so that it ends with one model.
class RoundCalendar {
 public:
  /// The job ends with `last_step`.
  RoundCalendar(const RoundOptions& options, std::int64_t last_step);

  /// Rounds of the job, from 1.
  std::uint64_t rounds() const;
  /// The last step of the round that has this one, counted from 1.
  std::int64_t end_of_round(std::int64_t step) const;
  /// Steps that are over when a round begins.
  std::int64_t first_step(std::uint64_t round) const;
  std::int64_t steps(std::uint64_t round) const {
    return first_step(round + 1) - first_step(round);
  }
  /// Of the longest round.
  std::int64_t steps_max() const;
  FragmentRange fragments(std::uint64_t round) const;

 private:
  std::uint64_t round_of(std::int64_t step) const;

  std::int64_t inner_steps_, fragments_, last_step_;
};

}  // namespace train

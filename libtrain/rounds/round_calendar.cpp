#include "libtrain/rounds/round_calendar.hpp"

#include <algorithm>

namespace train {

RoundCalendar::RoundCalendar(const RoundOptions& options, std::int64_t last_step)
    : inner_steps_(options.inner_steps), fragments_(options.fragments), last_step_(last_step) {}

std::uint64_t RoundCalendar::rounds() const {
  return round_of(last_step_);
}

// The first round that has all steps up to this one; in parts, since it may be the largest there
// is.
std::uint64_t RoundCalendar::round_of(std::int64_t step) const {
  const std::int64_t left = step % inner_steps_;
  return static_cast<std::uint64_t>(step / inner_steps_ * fragments_ +
                                    (left * fragments_ + inner_steps_ - 1) / inner_steps_);
}

std::int64_t RoundCalendar::end_of_round(std::int64_t step) const {
  return first_step(round_of(step) + 1);
}

std::int64_t RoundCalendar::first_step(std::uint64_t round) const {
  const auto before = static_cast<std::int64_t>(round) - 1;
  return std::min(last_step_, before * inner_steps_ / fragments_);
}

std::int64_t RoundCalendar::steps_max() const {
  return (inner_steps_ + fragments_ - 1) / fragments_;
}

FragmentRange RoundCalendar::fragments(std::uint64_t round) const {
  const auto count = static_cast<int>(fragments_);
  if (round >= rounds()) return {0, count};
  const auto turn = static_cast<int>((round - 1) % static_cast<std::uint64_t>(count));
  return {turn, turn + 1};
}

}  // namespace train

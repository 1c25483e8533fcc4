#include "libtrain/optimizer/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

// How far `step` lies within [begin, end], from 0 to 1.
double progress(std::int64_t step, std::int64_t begin, std::int64_t end) {
  if (end <= begin) return step < end ? 0.0 : 1.0;
  return std::clamp(static_cast<double>(step - begin) / static_cast<double>(end - begin), 0.0, 1.0);
}

// cos(π x) for x from 0 to 1, to double's precision. The C library's may differ in the last bit
// from one processor to the next, and clusters of a job must have the same rates.
double cosine_of_pi(double x) {
  constexpr int terms = 12;
  const double angle = std::numbers::pi * (0.5 - x);  // its sine, from -π/2 to π/2
  const double square = angle * angle;
  double sum = 1.0;
  for (int k = terms; k > 0; --k) sum = 1.0 - sum * square / (2.0 * k * (2.0 * k + 1.0));
  return angle * sum;
}

}  // namespace

float Schedule::at(std::int64_t step) const {
  if (step < warmup_steps) {
    // The first step already learns; the last step of the warm-up stays below lr.
    return lr * static_cast<float>(step + 1) / static_cast<float>(warmup_steps + 1);
  }
  double share = 1.0;  // of the way from min_lr up to lr
  switch (kind) {
    case Kind::constant:
      break;
    case Kind::cosine:
      share = 0.5 * (1.0 + cosine_of_pi(progress(step, warmup_steps, steps)));
      break;
    case Kind::wsd: {
      const std::int64_t tenth = std::max<std::int64_t>(1, steps / 10);
      const std::int64_t decay = decay_steps > 0 ? decay_steps : tenth;
      share = 1.0 - progress(step, std::max(warmup_steps, steps - decay), steps);
      break;
    }
  }
  return static_cast<float>(min_lr + share * (static_cast<double>(lr) - min_lr));
}

void Schedule::validate() const {
  if (!(lr >= 0.0f && std::isfinite(lr))) {
    throw Error(fmt::format("--lr is {}; it must be finite, and 0 or more", lr));
  }
  if (!(min_lr >= 0.0f && min_lr <= lr)) {
    throw Error(fmt::format("--min-lr is {}; it must lie between 0 and --lr {}", min_lr, lr));
  }
  if (steps < 1) throw Error(fmt::format("--steps is {}; it must be at least 1", steps));
  if (warmup_steps < 0)
    throw Error(fmt::format("--warmup is {}; it must be 0 or more", warmup_steps));
  if (decay_steps < 0 || decay_steps > steps) {
    throw Error(fmt::format("--decay-steps is {}; it must lie between 0 and --steps {}",
                            decay_steps, steps));
  }
}

Schedule::Kind Schedule::parse_kind(std::string_view text) {
  if (text == "constant") return Kind::constant;
  if (text == "cosine") return Kind::cosine;
  if (text == "wsd") return Kind::wsd;
  throw Error(fmt::format("--schedule {}: known are constant, cosine and wsd", text));
}

}  // namespace train

#include "libtrain/rounds/outer_optimizer.hpp"

#include <cmath>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

void check_sizes(std::span<const float> now, std::span<const float> mean, int kept,
                 std::span<float> next) {
  const std::size_t all = mean.size() * static_cast<std::size_t>(1 + kept);
  invariant(now.size() == all && next.size() == all, "an outer state is as long as its lane asks");
}

// By multiplication alone, which rounds the same everywhere; the C library's pow need not.
double power(double base, std::int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1) result *= base;
    base *= base;
  }
  return result;
}

}  // namespace

void OuterOptions::validate() const {
  if (!(lr > 0.0f)) throw Error(fmt::format("--outer-lr is {}; it must be above 0", lr));
  if (!(momentum >= 0.0f && momentum < 1.0f)) {
    throw Error(fmt::format("--outer-momentum is {}; it must be in [0, 1)", momentum));
  }
}

OuterNesterov::OuterNesterov(OuterOptions options) : options_((options.validate(), options)) {}

void OuterNesterov::step(std::span<const float> now, std::span<const float> mean, const Step&,
                         std::span<float> next) const {
  check_sizes(now, mean, kept(), next);
  const std::size_t count = mean.size();
  for (std::size_t i = 0; i < count; ++i) {
    const float momentum = options_.momentum * now[count + i] + mean[i];
    next[count + i] = momentum;
    next[i] = now[i] - options_.lr * (mean[i] + options_.momentum * momentum);
  }
}

OuterAdamW::OuterAdamW(AdamW config, std::vector<Segment> segments)
    : config_(config), segments_(std::move(segments)) {}

void OuterAdamW::step(std::span<const float> now, std::span<const float> mean, const Step& step,
                      std::span<float> next) const {
  check_sizes(now, mean, kept(), next);
  const std::size_t count = mean.size();
  const double correction1 = 1.0 - power(static_cast<double>(config_.beta1), step.number);
  const double correction2 = 1.0 - power(static_cast<double>(config_.beta2), step.number);
  const auto step_size = static_cast<float>(step.lr / correction1);
  const auto root_variance = static_cast<float>(1.0 / std::sqrt(correction2));
  const bool clips = config_.clip_norm > 0.0f && step.mean_norm > config_.clip_norm;
  const float scale = clips ? static_cast<float>(config_.clip_norm / step.mean_norm) : 1.0f;
  for (const Segment& segment : segments_) {
    const double weight_decay = segment.decays ? config_.weight_decay : 0.0;
    const auto decay = static_cast<float>(1.0 - static_cast<double>(step.lr) * weight_decay);
    for (std::size_t i = segment.begin; i < segment.end; ++i) {
      const float gradient = mean[i] * scale;
      const float m = config_.beta1 * now[count + i] + (1.0f - config_.beta1) * gradient;
      const float v =
          config_.beta2 * now[2 * count + i] + (1.0f - config_.beta2) * gradient * gradient;
      next[count + i] = m;
      next[2 * count + i] = v;
      next[i] = now[i] * decay - step_size * m / (std::sqrt(v) * root_variance + config_.eps);
    }
  }
}

}  // namespace train

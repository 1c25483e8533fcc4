#include "libtrain/rounds/outer_optimizer.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include "collectives/error.hpp"

namespace train {

void OuterOptions::validate() const {
  if (!(lr > 0.0f)) throw Error(fmt::format("--outer-lr is {}; it must be above 0", lr));
  if (!(momentum >= 0.0f && momentum < 1.0f)) {
    throw Error(fmt::format("--outer-momentum is {}; it must be in [0, 1)", momentum));
  }
}

OuterOptimizer::OuterOptimizer(OuterOptions options, std::size_t count)
    : options_((options.validate(), options)), parameters_(count), momentum_(count) {}

void OuterOptimizer::difference(std::span<const float> local, std::span<float> delta) const {
  invariant(local.size() == parameters_.size() && delta.size() == local.size(),
            "a lane's values are as many as its parameters");
  for (std::size_t i = 0; i < local.size(); ++i) delta[i] = parameters_[i] - local[i];
}

void OuterOptimizer::step(std::span<const float> mean) {
  invariant(mean.size() == parameters_.size(), "a lane's mean is as long as the lane");
  for (std::size_t i = 0; i < mean.size(); ++i) {
    momentum_[i] = options_.momentum * momentum_[i] + mean[i];
    parameters_[i] -= options_.lr * (mean[i] + options_.momentum * momentum_[i]);
  }
}

std::uint64_t OuterOptimizer::hash() const {
  const std::uint64_t parameters =
      XXH3_64bits(parameters_.data(), parameters_.size() * sizeof(float));
  return XXH3_64bits_withSeed(momentum_.data(), momentum_.size() * sizeof(float), parameters);
}

}  // namespace train

#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace train {

/// Nesterov's momentum on the mean of what clusters changed (Douillard et al.: "DiLoCo", 2023, who
/// use these values).
struct OuterOptions {
  float lr = 0.7f;
  float momentum = 0.9f;

  /// Throws Error that names the first value that cannot be.
  void validate() const;
};

/// One lane of the outer parameters and their momentum, in f32. The same means give the same bits
/// in every cluster: each operation rounds once, whatever the processor.
class OuterOptimizer {
 public:
  OuterOptimizer(OuterOptions options, std::size_t count);

  std::span<float> parameters() { return parameters_; }
  std::span<float> momentum() { return momentum_; }

  /// delta = parameters - local: what a cluster's inner steps changed, as a gradient.
  void difference(std::span<const float> local, std::span<float> delta) const;
  /// momentum = momentum_rate · momentum + mean; parameters -= lr · (mean + momentum_rate ·
  /// momentum).
  void step(std::span<const float> mean);
  /// XXH3 of parameters and momentum: equal in all clusters after each exchange.
  std::uint64_t hash() const;

 private:
  OuterOptions options_;
  std::vector<float> parameters_;
  std::vector<float> momentum_;
};

}  // namespace train

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "libtrain/optimizer/adamw.hpp"

namespace train {

/// How the mean of what clusters sent makes the next outer state, one lane of it, in f32. The same
/// means give the same bits in every cluster: each operation rounds once, whatever the processor.
class OuterOptimizer {
 public:
  virtual ~OuterOptimizer() = default;

  /// Values that are kept beside each parameter.
  virtual int kept() const = 0;

  struct Step {
    std::int64_t number = 1;  ///< of this step in the job, from 1
    float lr = 0.0f;
    double mean_norm = 0.0;  ///< L2, of the mean over all lanes
  };
  /// `now` and `next` hold the lane's parameters, then what is kept beside them: (1 + kept()) times
  /// the values of `mean`.
  virtual void step(std::span<const float> now, std::span<const float> mean, const Step& step,
                    std::span<float> next) const = 0;
};

/// Nesterov's momentum on the mean of what clusters changed (Douillard et al.: "DiLoCo", 2023, who
/// use these values).
struct OuterOptions {
  float lr = 0.7f;
  float momentum = 0.9f;

  /// Throws Error that names the first value that cannot be.
  void validate() const;
};

/// momentum' = rate · momentum + mean; parameters' = parameters - lr · (mean + rate · momentum').
/// The learning rate is its own, not the step's.
class OuterNesterov final : public OuterOptimizer {
 public:
  explicit OuterNesterov(OuterOptions options);

  int kept() const override { return 1; }
  void step(std::span<const float> now, std::span<const float> mean, const Step& step,
            std::span<float> next) const override;

 private:
  OuterOptions options_;
};

/// AdamW on the clusters' mean gradient, clipped by its norm: what ShardedOptimizer does inside a
/// cluster, for clusters that average every step.
class OuterAdamW final : public OuterOptimizer {
 public:
  /// Values [begin, end) of the lane, whose parameter decays or not.
  struct Segment {
    std::size_t begin = 0, end = 0;
    bool decays = false;
  };
  OuterAdamW(AdamW config, std::vector<Segment> segments);

  int kept() const override { return 2; }
  void step(std::span<const float> now, std::span<const float> mean, const Step& step,
            std::span<float> next) const override;

 private:
  AdamW config_;
  std::vector<Segment> segments_;
};

}  // namespace train

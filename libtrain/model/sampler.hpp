#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace train {

struct SamplingOptions {
  float temperature = 1.0f;  ///< 0: always the likeliest token
  std::int64_t top_k = 0;    ///< choose among this many likeliest tokens; 0: among all
  float top_p = 1.0f;        ///< … and among the fewest whose probabilities reach this
  std::uint64_t seed = 1;

  /// Throws Error that names the first value that cannot be.
  void validate() const;
};

/// Draws tokens from logits. The draw number i of a seed is the same wherever it is made.
class Sampler {
 public:
  explicit Sampler(SamplingOptions options);

  /// Temperature, then top-k, then top-p (Holtzman et al.: "The curious case of neural text
  /// degeneration", 2020). Of equal logits the lower token comes first. Throws Error where one is
  /// not finite.
  std::int32_t pick(std::span<const float> logits);

 private:
  struct Candidate {
    std::int32_t token;
    float logit;
  };

  void rank_candidates(std::span<const float> logits);

  SamplingOptions options_;
  std::uint64_t draws_ = 0;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

}  // namespace train

#pragma once

#include <cstdint>
#include <string_view>

namespace train {

/// The learning rate as a function of the step, counted from 0.
struct Schedule {
  enum class Kind : std::uint8_t {
    constant,  ///< warm-up, then lr
    cosine,    ///< warm-up, then half a cosine down to min_lr at `steps`
    wsd,       ///< warm-up, lr, then a straight line to min_lr over the last `decay_steps`
  };

  Kind kind = Kind::cosine;
  float lr = 6e-4f;
  float min_lr = 6e-5f;
  std::int64_t warmup_steps = 0;
  std::int64_t steps = 1;
  std::int64_t decay_steps = 0;  ///< of wsd; 0: a tenth of `steps`

  /// The rate of a step; past `steps` it stays at min_lr (constant: at lr).
  float at(std::int64_t step) const;
  /// Throws Error that names the first value that cannot be.
  void validate() const;

  /// "constant", "cosine", "wsd"; throws Error otherwise.
  static Kind parse_kind(std::string_view text);
};

}  // namespace train

#include "libtrain/optimizer/adamw.hpp"

#include <cmath>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {

void AdamW::validate() const {
  const auto require = [](bool holds, const char* flag, float value, const char* rule) {
    if (!holds) throw Error(fmt::format("{} is {}; it must be {}", flag, value, rule));
  };
  require(lr >= 0.0f && std::isfinite(lr), "--lr", lr, "a finite number, 0 or more");
  require(beta1 >= 0.0f && beta1 < 1.0f, "--beta1", beta1, "at least 0 and below 1");
  require(beta2 >= 0.0f && beta2 < 1.0f, "--beta2", beta2, "at least 0 and below 1");
  require(eps > 0.0f && std::isfinite(eps), "--eps", eps, "a finite number above 0");
  require(weight_decay >= 0.0f && std::isfinite(weight_decay), "--weight-decay", weight_decay,
          "a finite number, 0 or more");
  require(clip_norm >= 0.0f, "--clip", clip_norm, "0 (no clipping) or more");
}

}  // namespace train

// A training that diverged ends with what went wrong first.
#include <cmath>

#include <fmt/format.h>

#include "libtrain/agreement.hpp"
#include "libtrain/trainer.hpp"

namespace train {
namespace {

constexpr const char* advice = "Lower --lr, lengthen --warmup or clip harder (--clip)";

// What the first rank that has something to name found; "" when none has.
std::string found_on(const Grid& grid, const char* kind, const std::string& name) {
  const std::string mine =
      name.empty() ? "" : fmt::format("{} {} on rank {}", kind, name, grid.rank());
  return first_said(grid.world(), mine);
}

}  // namespace

void Trainer::stop_not_finite(std::int64_t step, double loss, double norm) {
  const std::string found = first_not_finite();
  throw Error(fmt::format(
      "step {}: the loss is {} and the gradient's norm is {}; the first tensor that is not finite "
      "is {}. {}",
      step + 1, loss, norm, found.empty() ? "not to be found again" : found, advice));
}

// Looks first where the trouble would have begun. The ranks look together: a pass through the model
// may need all of them.
std::string Trainer::first_not_finite() {
  std::string found = found_on(grid_, "parameter", optimizer_.first_parameter_not_finite());
  if (found.empty()) {
    found = found_on(grid_, "the output of the layer of", model_.first_output_not_finite(batch_));
  }
  if (found.empty()) {
    found = found_on(grid_, "the gradient of", optimizer_.first_gradient_not_finite());
  }
  return found;
}

// What the last update did is seen in the next step's loss; here it is saved, or there is none.
void Trainer::require_finite_parameters(std::int64_t step) {
  const std::string found = found_on(grid_, "parameter", optimizer_.first_parameter_not_finite());
  if (found.empty()) return;
  throw Error(fmt::format("step {}: its update left {} not finite, and is not saved. {}", step,
                          found, advice));
}

void Trainer::require_finite_evaluation(std::int64_t step, double loss) const {
  if (std::isfinite(loss)) return;
  throw Error(fmt::format("step {}: the loss of the held-out data is {} after its update. {}", step,
                          loss, advice));
}

}  // namespace train

#pragma once

#include <string>
#include <vector>

#include "libtrain/autograd/parameter.hpp"

namespace train {

/// A stretch of a model that runs as one: the embedding, a block, the final norm, the head.
struct ModelUnit {
  std::string name;
  std::vector<Parameter*> parameters;
  /// False where the backward pass writes gradients without reading the values again.
  bool backward_reads_values = true;
};

/// Told where a pass through the model stands: units go forward in their order, and backward in
/// the reverse one. Whoever brings values in time, or draws a timeline, derives from this.
class UnitObserver {
 public:
  virtual ~UnitObserver() = default;

  /// `recording`: a backward pass will follow.
  virtual void before_forward(std::size_t unit, bool recording) = 0;
  virtual void after_forward(std::size_t unit) = 0;
  virtual void before_backward(std::size_t unit) = 0;
  virtual void after_backward(std::size_t unit) = 0;
};

}  // namespace train

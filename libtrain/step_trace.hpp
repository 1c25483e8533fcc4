#pragma once

#include <memory>
#include <vector>

#include "libtrain/metrics/trace.hpp"
#include "libtrain/model/gpt.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "libtrain/parallel/grid.hpp"

namespace train {

/// Draws training steps into a trace: on the track "compute" the units of the model forward and
/// backward, and the moments when training stood still for other ranks; beside it a track for each
/// of the grid's groups with its collectives.
class StepTrace final : public UnitObserver {
 public:
  /// All must outlive it.
  StepTrace(Trace& trace, const Grid& grid, Gpt& model, ShardedOptimizer& optimizer);
  ~StepTrace() override;

  void before_forward(std::size_t unit, bool recording) override;
  void after_forward(std::size_t unit) override;
  void before_backward(std::size_t unit) override;
  void after_backward(std::size_t unit) override;

 private:
  void draw(const char* direction, std::size_t unit);

  Trace& trace_;
  const Grid& grid_;
  Gpt& model_;
  ShardedOptimizer& optimizer_;
  std::vector<std::string> names_;
  Clock::time_point begin_;
};

}  // namespace train

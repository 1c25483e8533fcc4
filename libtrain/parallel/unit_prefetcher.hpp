#pragma once

#include <span>
#include <vector>

#include "libtrain/model/unit_observer.hpp"
#include "libtrain/parallel/parameter_buckets.hpp"

namespace train {

/// Stage 3: has a unit's values here while the unit runs and the next unit's on their way, in the
/// forward and in the backward pass.
class UnitPrefetcher final : public UnitObserver {
 public:
  /// All must outlive the prefetcher.
  UnitPrefetcher(std::span<const ModelUnit> units, const std::vector<Bucket>& buckets,
                 ParameterBuckets& values);

  void before_forward(std::size_t unit, bool recording) override;
  void after_forward(std::size_t unit) override;
  void before_backward(std::size_t unit) override;
  void after_backward(std::size_t unit) override;

 private:
  void fetch_before(std::size_t unit);

  std::vector<ModelUnit> units_;
  std::vector<std::vector<std::size_t>> buckets_of_;  // gathered ones, by unit
  ParameterBuckets& values_;
};

}  // namespace train

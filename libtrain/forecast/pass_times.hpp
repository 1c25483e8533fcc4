#pragma once

#include "libtrain/forecast/bucket_schedule.hpp"
#include "libtrain/forecast/step_forecast.hpp"

namespace train {

/// How long the parts of one pass take: computation, and exchanges of the tensor and the context
/// group that computation does not hide.
class PassTimes {
 public:
  PassTimes(const ModelOutline& outline, const TrainingShape& shape, const DeviceRates& device,
            const GroupCost& tensor, const GroupCost& context);

  const std::vector<double>& forward() const { return forward_; }    ///< by unit
  const std::vector<double>& again() const { return again_; }        ///< by unit
  const std::vector<double>& backward() const { return backward_; }  ///< by layer
  /// Of all these, what is computation, and what is waiting for either group.
  double computed_s() const { return computed_s_; }
  double waited_s() const { return waited_s_; }
  double context_s() const { return context_s_; }

 private:
  // A layer's forward pass, or the half of its backward pass that is one product.
  struct Part {
    double computed_s = 0.0;
    double waited_s = 0.0;
    double context_s = 0.0;

    double seconds() const { return computed_s + waited_s + context_s; }
  };
  Part forward_of(const Layer& layer) const;
  Part backward_of(const Layer& layer) const;
  Part head() const;
  double attention_flops(const Layer& layer) const;
  double product_s(double flops, double bytes) const;
  double exchange_s(const Layer& layer) const;
  double gather_s() const;
  double sum_s() const;
  double count(const Part& part);

  const ModelOutline& outline_;
  const TrainingShape& shape_;
  const DeviceRates& device_;
  const GroupCost& tensor_;
  const GroupCost& context_;
  double rows_;  // that this rank's layers see
  std::vector<double> forward_, again_, backward_;
  double computed_s_ = 0.0, waited_s_ = 0.0, context_s_ = 0.0;
};

}  // namespace train

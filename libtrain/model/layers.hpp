#pragma once

#include <string>

#include "libtrain/model/forward_context.hpp"
#include "libtrain/model/gpt_config.hpp"
#include "libtrain/model/parameter_set.hpp"

namespace train {

/// y = x · weightᵀ + bias.
class Linear {
 public:
  struct Form {
    LayerKind kind = LayerKind::reader;
    Features features = Features::none;
    std::int64_t in = 0;
    std::int64_t out = 0;
    bool bias = true;
    float deviation = 0.0f;  ///< of initial weights
  };

  Linear(ParameterSet& parameters, const std::string& name, const Form& form);

  Value forward(Tape& tape, const Value& x, const ForwardContext& context,
                Activation activation = Activation::none) const {
    return context.execution->linear(tape, layer_, x, context.rows(), activation);
  }

 private:
  Layer& layer_;
};

/// The residual stream from norm to norm: x, and the last branch, which the next norm adds to it
/// while it reads both. `branch` has no tensor where nothing is to be added.
struct Residual {
  Value x;
  Value branch;

  bool pending() const { return branch.tensor().defined(); }
  /// x + branch, where no norm follows.
  Value sum(Tape& tape) const { return pending() ? add(tape, x, branch) : x; }
};

/// Layer norm or RMS norm, as the configuration says. Works on any of the rows alone.
class NormLayer {
 public:
  NormLayer(ParameterSet& parameters, const std::string& name, const GptConfig& config);

  Value forward(Tape& tape, const Value& x) const;
  /// The norm of the stream's sum; the stream is that sum afterwards, with nothing pending.
  Value forward(Tape& tape, Residual& stream) const;

 private:
  Norm kind_;
  float eps_;
  Layer& layer_;
};

}  // namespace train

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

/// Layer norm or RMS norm, as the configuration says. Works on any of the rows alone.
class NormLayer {
 public:
  NormLayer(ParameterSet& parameters, const std::string& name, const GptConfig& config);

  Value forward(Tape& tape, const Value& x) const;

 private:
  Norm kind_;
  float eps_;
  Layer& layer_;
};

}  // namespace train

#pragma once

#include <string>

#include "libtrain/autograd/functions.hpp"
#include "libtrain/model/gpt_config.hpp"
#include "libtrain/model/parameter_set.hpp"

namespace train {

/// y = x · weightᵀ + bias.
class Linear {
 public:
  Linear(ParameterSet& parameters, const std::string& name, std::int64_t in, std::int64_t out,
         bool bias, float deviation);

  Value forward(Tape& tape, const Value& x, Activation activation = Activation::none) const;

 private:
  Parameter& weight_;
  Parameter* bias_;
};

/// Layer norm or RMS norm, as the configuration says.
class NormLayer {
 public:
  NormLayer(ParameterSet& parameters, const std::string& name, const GptConfig& config);

  Value forward(Tape& tape, const Value& x) const;

 private:
  Norm kind_;
  float eps_;
  Parameter& weight_;
  Parameter* bias_;
};

}  // namespace train

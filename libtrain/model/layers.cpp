#include "libtrain/model/layers.hpp"

namespace train {

Linear::Linear(ParameterSet& parameters, const std::string& name, std::int64_t in, std::int64_t out,
               bool bias, float deviation)
    : weight_(parameters.add(name + ".weight", {out, in}, Initializer::normal(deviation))),
      bias_(parameters.add_if(bias, name + ".bias", {out}, Initializer::zeros())) {}

Value Linear::forward(Tape& tape, const Value& x, Activation activation) const {
  return linear(tape, x, weight_, bias_, activation);
}

NormLayer::NormLayer(ParameterSet& parameters, const std::string& name, const GptConfig& config)
    : kind_(config.norm),
      eps_(config.norm_eps),
      weight_(parameters.add(name + ".weight", {config.width}, Initializer::ones())),
      bias_(parameters.add_if(config.bias && config.norm == Norm::layer_norm, name + ".bias",
                              {config.width}, Initializer::zeros())) {}

Value NormLayer::forward(Tape& tape, const Value& x) const {
  if (kind_ == Norm::rms_norm) return rms_norm(tape, x, weight_, eps_);
  return layer_norm(tape, x, weight_, bias_, eps_);
}

}  // namespace train

#include "libtrain/model/layers.hpp"

namespace train {

Linear::Linear(ParameterSet& parameters, const std::string& name, const Form& form)
    : layer_(parameters.add_layer({name, form.kind, form.features})) {
  layer_.weight =
      &parameters.add(name + ".weight", {form.out, form.in}, Initializer::normal(form.deviation));
  layer_.bias = parameters.add_if(form.bias, name + ".bias", {form.out}, Initializer::zeros());
}

NormLayer::NormLayer(ParameterSet& parameters, const std::string& name, const GptConfig& config)
    : kind_(config.norm),
      eps_(config.norm_eps),
      layer_(parameters.add_layer({name, LayerKind::norm})) {
  layer_.weight = &parameters.add(name + ".weight", {config.width}, Initializer::ones());
  layer_.bias = parameters.add_if(config.bias && config.norm == Norm::layer_norm, name + ".bias",
                                  {config.width}, Initializer::zeros());
}

Value NormLayer::forward(Tape& tape, const Value& x) const {
  if (kind_ == Norm::rms_norm) return rms_norm(tape, x, *layer_.weight, eps_);
  return layer_norm(tape, x, *layer_.weight, layer_.bias, eps_);
}

Value NormLayer::forward(Tape& tape, Residual& stream) const {
  if (!stream.pending()) return forward(tape, stream.x);
  auto [sum, normed] =
      kind_ == Norm::rms_norm
          ? add_rms_norm(tape, stream.x, stream.branch, *layer_.weight, eps_)
          : add_layer_norm(tape, stream.x, stream.branch, *layer_.weight, layer_.bias, eps_);
  stream = {std::move(sum), {}};
  return std::move(normed);
}

}  // namespace train

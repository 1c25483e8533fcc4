#include "libtrain/model/parameter_set.hpp"

namespace train {

Parameter& ParameterSet::add(std::string name, Shape shape, Initializer initializer) {
  invariant(find(name) == nullptr, "parameters have names of their own");
  all_.push_back(std::make_unique<Parameter>(std::move(name), shape, initializer));
  return *all_.back();
}

Parameter* ParameterSet::add_if(bool wanted, std::string name, Shape shape,
                                Initializer initializer) {
  return wanted ? &add(std::move(name), shape, initializer) : nullptr;
}

Layer& ParameterSet::add_layer(Layer layer) {
  layers_.push_back(std::move(layer));
  return layers_.back();
}

std::vector<Parameter*> ParameterSet::with_prefix(const std::string& prefix) const {
  std::vector<Parameter*> found;
  for (const auto& parameter : all_) {
    if (parameter->name().starts_with(prefix)) found.push_back(parameter.get());
  }
  return found;
}

Parameter* ParameterSet::find(const std::string& name) const {
  for (const auto& parameter : all_) {
    if (parameter->name() == name) return parameter.get();
  }
  return nullptr;
}

}  // namespace train

#include "libtrain/model/parameter_set.hpp"

namespace train {

Parameter& ParameterSet::add(std::string name, Shape shape, Initializer initializer) {
  all_.push_back(std::make_unique<Parameter>(std::move(name), shape, initializer));
  Parameter& added = *all_.back();
  invariant(by_name_.emplace(added.name(), &added).second, "parameters have names of their own");
  return added;
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
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

}  // namespace train

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libtrain/autograd/parameter.hpp"

namespace train {

/// The parameters of a model, in the order in which its layers made them. Names are unique.
class ParameterSet {
 public:
  Parameter& add(std::string name, Shape shape, Initializer initializer);
  /// nullptr when `wanted` is false: a bias that the model does not have.
  Parameter* add_if(bool wanted, std::string name, Shape shape, Initializer initializer);
  /// nullptr when there is none of that name.
  Parameter* find(const std::string& name) const;

  const std::vector<std::unique_ptr<Parameter>>& all() const { return all_; }

 private:
  std::vector<std::unique_ptr<Parameter>> all_;
};

}  // namespace train

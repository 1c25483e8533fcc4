#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "libtrain/model/execution.hpp"

namespace train {

/// The parameters of a model, in the order in which its layers made them, and those layers. Names
/// are unique.
class ParameterSet {
 public:
  Parameter& add(std::string name, Shape shape, Initializer initializer);
  /// nullptr when `wanted` is false: a bias that the model does not have.
  Parameter* add_if(bool wanted, std::string name, Shape shape, Initializer initializer);
  /// The layer's address stays.
  Layer& add_layer(Layer layer);
  /// nullptr when there is none of that name.
  Parameter* find(const std::string& name) const;
  /// Those of the layers whose names begin so.
  std::vector<Parameter*> with_prefix(const std::string& prefix) const;

  const std::vector<std::unique_ptr<Parameter>>& all() const { return all_; }
  std::deque<Layer>& layers() { return layers_; }

 private:
  std::vector<std::unique_ptr<Parameter>> all_;
  std::unordered_map<std::string_view, Parameter*> by_name_;  // views into all_
  std::deque<Layer> layers_;
};

}  // namespace train

#pragma once

#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "tests/gpu/emulated/cudnn_graph.h"

// What a descriptor of the emulated cuDNN holds. Others that it names live as long as it does.
namespace emulated::cudnn {

struct Descriptor;
using Shared = std::shared_ptr<Descriptor>;

struct Attribute {
  cudnnBackendAttributeType_t type{};
  std::size_t count = 0;
  std::vector<std::byte> bytes;
  std::vector<Shared> descriptors;
};

struct Descriptor {
  cudnnBackendDescriptorType_t type{};
  bool finalized = false;
  std::map<int, Attribute> attributes;

  bool has(cudnnBackendAttributeName_t name) const { return attributes.count(name) > 0; }
  template <typename Value>
  std::vector<Value> all(cudnnBackendAttributeName_t name) const {
    const Attribute& attribute = attributes.at(name);
    std::vector<Value> values(attribute.count);
    std::memcpy(values.data(), attribute.bytes.data(), attribute.bytes.size());
    return values;
  }
  template <typename Value>
  Value one(cudnnBackendAttributeName_t name) const {
    Value value{};
    std::memcpy(&value, attributes.at(name).bytes.data(), sizeof value);
    return value;
  }
  const Descriptor& linked(cudnnBackendAttributeName_t name) const {
    return *attributes.at(name).descriptors.front();
  }
};

}  // namespace emulated::cudnn

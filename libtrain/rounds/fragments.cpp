#include "libtrain/rounds/fragments.hpp"

#include <algorithm>
#include <cctype>
#include <string>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

// What runs as one: its tensors lie next to each other in the model.
struct Part {
  std::string name;
  TensorRange tensors;
  std::int64_t elements = 0;
};

// "blocks.3" of "blocks.3.attention.qkv.weight", "token_embedding" of "token_embedding.weight".
std::string part_of(const std::string& tensor) {
  const std::size_t dot = tensor.find('.');
  if (dot == std::string::npos) return tensor;
  std::size_t end = dot + 1;
  while (end < tensor.size() && std::isdigit(static_cast<unsigned char>(tensor[end])) != 0) ++end;
  return tensor.substr(0, end == dot + 1 ? dot : end);
}

std::vector<Part> parts_of(std::span<const LogicalTensor> tensors) {
  std::vector<Part> parts;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::string name = part_of(tensors[i].name);
    if (parts.empty() || parts.back().name != name) parts.push_back({std::move(name), {i, i}});
    parts.back().tensors.end = i + 1;
    parts.back().elements += tensors[i].layout.shape().elements();
  }
  return parts;
}

}  // namespace

Fragments::Fragments(std::span<const LogicalTensor> tensors, int count) {
  std::vector<Part> parts = parts_of(tensors);
  const auto fragments = static_cast<std::size_t>(count);
  if (count < 1 || parts.size() < fragments) {
    throw Error(
        fmt::format("--fragments is {}; this model has {} parts to deal out: blocks, "
                    "embeddings and norms",
                    count, parts.size()));
  }
  std::ranges::stable_sort(parts, std::ranges::greater{}, &Part::elements);
  std::vector<std::int64_t> elements(fragments, 0);
  std::vector<std::vector<Part>> dealt(fragments);
  for (const Part& part : parts) {
    const auto least =
        static_cast<std::size_t>(std::ranges::min_element(elements) - elements.begin());
    elements[least] += part.elements;
    dealt[least].push_back(part);
  }
  for (std::vector<Part>& fragment : dealt) {
    begins_.push_back(order_.size());
    std::ranges::sort(fragment, {}, [](const Part& part) { return part.tensors.begin; });
    for (const Part& part : fragment) {
      for (std::size_t i = part.tensors.begin; i < part.tensors.end; ++i) order_.push_back(i);
    }
  }
  begins_.push_back(order_.size());
}

std::vector<LogicalTensor> Fragments::in_order(std::span<const LogicalTensor> tensors) const {
  std::vector<LogicalTensor> ordered;
  for (const std::size_t place : order_) ordered.push_back(tensors[place]);
  return ordered;
}

TensorRange Fragments::tensors(FragmentRange range) const {
  return {begins_.at(static_cast<std::size_t>(range.first)),
          begins_.at(static_cast<std::size_t>(range.last))};
}

}  // namespace train

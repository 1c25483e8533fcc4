#include "libtrain/tensor/shape.hpp"

#include <algorithm>

#include "collectives/error.hpp"

namespace train {

Shape::Shape(std::span<const std::int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  invariant(extents.size() <= max_rank, "a shape has at most four extents");
  std::ranges::copy(extents, extents_.begin());
}

std::int64_t Shape::operator[](int dimension) const {
  invariant(dimension >= 0 && dimension < rank_, "dimension within the shape's rank");
  return extents_[dimension];
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= extents_[i];
  return product;
}

std::int64_t Shape::rows() const {
  std::int64_t product = 1;
  for (int i = 0; i + 1 < rank_; ++i) product *= extents_[i];
  return product;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(extents_[i]);
  }
  return text + "]";
}

}  // namespace train

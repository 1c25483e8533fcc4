#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace train {

/// Extents of a row-major tensor, at most four, the last one contiguous.
class Shape {
 public:
  static constexpr int max_rank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents)
      : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int dimension) const;
  /// Product of the extents; 1 for rank 0.
  std::int64_t elements() const;
  /// Product of all extents but the last: what a row-wise op loops over.
  std::int64_t rows() const;
  /// The last extent; 1 for rank 0.
  std::int64_t width() const { return rank_ == 0 ? 1 : extents_[rank_ - 1]; }
  /// "[8, 64]"
  std::string to_string() const;

  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, max_rank> extents_{};
  int rank_ = 0;
};

}  // namespace train

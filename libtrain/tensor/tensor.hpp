#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "collectives/error.hpp"
#include "collectives/types.hpp"
#include "libtrain/tensor/memory.hpp"
#include "libtrain/tensor/shape.hpp"

namespace train {

/// A row-major array on a device. Copying a Tensor shares the elements; the last copy gives the
/// memory back. It is contiguous unless it was made by first_columns: what such gaps hold is
/// undefined, and whoever does not ask for rows_raw and row_stride is refused.
class Tensor {
 public:
  /// No elements, no memory: `defined()` is false.
  Tensor() = default;
  /// Elements undefined.
  Tensor(Memory& memory, Shape shape, DataType type);
  /// Values in the host's memory, which `owner` keeps there for as long as a copy of the tensor is
  /// left: nothing is copied, and what must not change there must not be changed through it.
  /// `memory` is one of the host's, for copies to and from it; none of it is taken.
  static Tensor over(Memory& memory, std::shared_ptr<const void> owner,
                     std::span<const float> values);

  bool defined() const { return storage_ != nullptr; }
  /// True when another Tensor refers to the same memory.
  bool shared() const { return storage_.use_count() > 1; }
  /// Lets go of the memory.
  void reset() { *this = Tensor(); }
  const Shape& shape() const { return shape_; }
  DataType type() const { return type_; }
  std::int64_t elements() const { return shape_.elements(); }
  /// Of the elements, without the gaps between rows.
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(type_); }
  Memory& memory() const;

  /// The elements, contiguous; T must be the tensor's type. On a device other than the CPU only its
  /// own ops may look at them.
  template <typename T>
  T* data() const {
    invariant(data_type_of<T> == type_, "a tensor is read as the type it has");
    return static_cast<T*>(raw());
  }
  void* raw() const;
  template <typename T>
  std::span<T> span() const {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }
  Buffer buffer() const {
    return defined() ? Buffer(raw(), static_cast<std::size_t>(elements()), type_) : Buffer();
  }

  /// How many elements lie from the beginning of one row to that of the next: the width, or more.
  std::int64_t row_stride() const { return has_gaps() ? row_stride_ : shape_.width(); }
  bool has_gaps() const { return row_stride_ != 0; }
  /// The first row's first element, for those who step by row_stride().
  void* rows_raw() const;

  /// The same elements under another shape of equal size.
  Tensor reshaped(Shape shape) const;
  /// `count` elements from `begin`, as a tensor of the given shape that shares the memory.
  Tensor slice(std::int64_t begin, Shape shape) const;
  /// Rows [begin, end) of the first dimension, sharing the memory; with gaps where these have them.
  Tensor rows(std::int64_t begin, std::int64_t end) const;
  /// The first `width` elements of each row of a contiguous matrix, sharing the memory; the rest of
  /// a row becomes a gap.
  Tensor first_columns(std::int64_t width) const;
  /// What first_columns was called on, in the rows that are left: the rows with their gaps.
  Tensor with_gaps() const;

  /// Copies from and to the host; `host` holds exactly `bytes()` bytes.
  void copy_from_host(std::span<const std::byte> host) const;
  void copy_to_host(std::span<std::byte> host) const;
  /// As Memory::copy_to_host_at_once: what wrote the elements is done.
  void copy_to_host_at_once(std::span<std::byte> host) const;

 private:
  class Storage;
  std::shared_ptr<Storage> storage_;
  std::size_t offset_bytes_ = 0;
  std::int64_t row_stride_ = 0;  // 0: contiguous
  Shape shape_;
  DataType type_ = DataType::f32;
};

}  // namespace train

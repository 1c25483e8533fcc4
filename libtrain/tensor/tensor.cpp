#include "libtrain/tensor/tensor.hpp"

namespace train {

class Tensor::Storage {
 public:
  Storage(Memory& memory, std::size_t bytes)
      : memory_(memory), block_(memory.allocate(bytes)), bytes_(bytes) {}
  // What the owner has allocated, and gives back.
  Storage(Memory& memory, std::shared_ptr<const void> owner, void* block)
      : memory_(memory), owner_(std::move(owner)), block_(block), bytes_(0) {}
  ~Storage() {
    if (owner_ == nullptr) memory_.release(block_, bytes_);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Memory& memory() const { return memory_; }
  std::byte* block() const { return static_cast<std::byte*>(block_); }

 private:
  Memory& memory_;
  std::shared_ptr<const void> owner_;
  void* block_;
  std::size_t bytes_;
};

namespace {

// Sizes come from flags and files: what no address space holds is the environment's error.
void require_addressable(const Shape& shape, DataType type) {
  std::size_t bytes = size_of(type);
  for (int i = 0; i < shape.rank(); ++i) {
    const auto extent = static_cast<std::size_t>(shape[i]);
    if (__builtin_mul_overflow(bytes, extent, &bytes) || bytes >> 60 != 0) {
      throw Error("a tensor of shape " + shape.to_string() + " fits no memory; lower the sizes");
    }
  }
}

}  // namespace

Tensor::Tensor(Memory& memory, Shape shape, DataType type) : shape_(shape), type_(type) {
  require_addressable(shape, type);
  storage_ = std::make_shared<Storage>(memory, bytes());
}

Tensor Tensor::over(Memory& memory, std::shared_ptr<const void> owner,
                    std::span<const float> values) {
  invariant(owner != nullptr && memory.on_host(), "somebody keeps the host's values");
  Tensor tensor;
  tensor.shape_ = {static_cast<std::int64_t>(values.size())};
  tensor.storage_ =
      std::make_shared<Storage>(memory, std::move(owner), const_cast<float*>(values.data()));
  return tensor;
}

Memory& Tensor::memory() const {
  invariant(defined(), "an undefined tensor has no memory");
  return storage_->memory();
}

void* Tensor::raw() const {
  invariant(!has_gaps(), "a tensor with gaps between its rows is not read as contiguous");
  return rows_raw();
}

void* Tensor::rows_raw() const {
  invariant(defined(), "an undefined tensor has no elements");
  return storage_->block() + offset_bytes_;
}

Tensor Tensor::reshaped(Shape shape) const {
  invariant(!has_gaps(), "a tensor with gaps between its rows keeps its shape");
  invariant(shape.elements() == elements(), "a reshaped tensor keeps its number of elements");
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

Tensor Tensor::slice(std::int64_t begin, Shape shape) const {
  invariant(!has_gaps(), "a tensor with gaps between its rows has no slices but rows");
  invariant(begin >= 0 && begin + shape.elements() <= elements(), "a slice lies in its tensor");
  Tensor view = *this;
  view.shape_ = shape;
  view.offset_bytes_ += static_cast<std::size_t>(begin) * size_of(type_);
  return view;
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  invariant(shape_.rank() == 2 && begin >= 0 && begin <= end && end <= shape_[0],
            "rows lie in a matrix");
  Tensor view = *this;
  view.shape_ = {end - begin, shape_[1]};
  view.offset_bytes_ += static_cast<std::size_t>(begin * row_stride()) * size_of(type_);
  return view;
}

Tensor Tensor::first_columns(std::int64_t width) const {
  invariant(!has_gaps() && shape_.rank() == 2 && width >= 0 && width <= shape_[1],
            "columns lie in a contiguous matrix");
  Tensor view = *this;
  view.shape_ = {shape_[0], width};
  view.row_stride_ = width == shape_[1] ? 0 : shape_[1];
  return view;
}

Tensor Tensor::with_gaps() const {
  Tensor view = *this;
  if (has_gaps()) view.shape_ = {shape_[0], row_stride_};
  view.row_stride_ = 0;
  return view;
}

void Tensor::copy_from_host(std::span<const std::byte> host) const {
  invariant(host.size() == bytes(), "the host's bytes are as many as the tensor's");
  memory().copy_from_host(raw(), host.data(), bytes());
}

void Tensor::copy_to_host(std::span<std::byte> host) const {
  invariant(host.size() == bytes(), "the host's bytes are as many as the tensor's");
  memory().copy_to_host(host.data(), raw(), bytes());
}

void Tensor::copy_to_host_at_once(std::span<std::byte> host) const {
  invariant(host.size() == bytes(), "the host's bytes are as many as the tensor's");
  memory().copy_to_host_at_once(host.data(), raw(), bytes());
}

}  // namespace train

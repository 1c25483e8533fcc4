#pragma once

#include <cstddef>
#include <cstdint>

#include "libtrain/tensor/memory.hpp"
#include "libtrain/tensor/tensor.hpp"

namespace train::cpu {

/// Elements that live as long as a scope. The device's memory keeps the block for the next call.
template <typename T>
class Scratch {
 public:
  Scratch(Memory& memory, std::int64_t count)
      : memory_(&memory), bytes_(static_cast<std::size_t>(count) * sizeof(T)) {
    if (count > 0) data_ = static_cast<T*>(memory.allocate(bytes_));
  }
  ~Scratch() {
    if (data_ != nullptr) memory_->release(data_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() const { return data_; }
  T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  Memory* memory_;
  std::size_t bytes_;
  T* data_ = nullptr;
};

/// A small tensor (a bias, a norm's weight) read as f32: itself, or a converted copy.
/// `undefined` stands for an undefined tensor.
class FloatRow {
 public:
  FloatRow(Memory& memory, const Tensor& tensor, std::int64_t width, float undefined);

  const float* data() const { return data_; }

 private:
  Scratch<float> copy_;
  const float* data_;
};

}  // namespace train::cpu

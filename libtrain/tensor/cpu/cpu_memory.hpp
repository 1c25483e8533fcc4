#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "libtrain/tensor/memory.hpp"

namespace train {

/// Host memory. Blocks of 2 MiB and more ask the kernel for huge pages: page faults on buffers that
/// are given back at each step cost more than the matrix products of a small model.
class CpuMemory final : public Memory {
 public:
  CpuMemory() = default;
  ~CpuMemory() override;

  void* allocate(std::size_t bytes) override;
  void release(void* block, std::size_t bytes) noexcept override;
  bool on_host() const override { return true; }
  void copy_from_host(void* target, const void* source, std::size_t bytes) override;
  void copy_to_host(void* target, const void* source, std::size_t bytes) override;
  Statistics statistics() const override;

 private:
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_by_size_;
  Statistics statistics_;
};

}  // namespace train

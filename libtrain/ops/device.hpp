#pragma once

#include <memory>

#include "libtrain/ops/ops.hpp"
#include "libtrain/tensor/memory_account.hpp"

namespace train {

/// Where a rank's tensors live and its ops run.
class Device {
 public:
  Device(std::unique_ptr<Memory> memory, std::unique_ptr<Ops> ops)
      : memory_(std::move(memory)), ops_(std::move(ops)) {
    for (const MemoryUse use : memory_uses) {
      accounts_[index(use)] = std::make_unique<MemoryAccount>(*memory_);
    }
  }

  /// The device's memory, booked under its use.
  MemoryAccount& memory(MemoryUse use = MemoryUse::activations) const {
    return *accounts_[index(use)];
  }
  Ops& ops() const { return *ops_; }

 private:
  static std::size_t index(MemoryUse use) { return static_cast<std::size_t>(use); }

  std::unique_ptr<Memory> memory_;
  std::array<std::unique_ptr<MemoryAccount>, memory_uses.size()> accounts_;
  std::unique_ptr<Ops> ops_;
};

/// Fast ops on the host: oneDNN for matrix products, vectorised loops on `threads` OpenMP threads.
/// f32 and bf16. Use from one thread at a time.
std::unique_ptr<Device> make_cpu_device(int threads);

/// NVIDIA's GPU of this number, counted as CUDA counts those that the process may see. Throws Error
/// where there is none, its driver is too old, or the build has no CUDA (-DTRAIN_CUDA=ON).
std::unique_ptr<Device> make_cuda_device(int index);

/// Plain loops on the host, one thread, f32, bf16 and f64: what other devices are tested against.
std::unique_ptr<Device> make_reference_device();

}  // namespace train

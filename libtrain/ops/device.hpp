#pragma once

#include <memory>
#include <optional>
#include <string>

#include "libtrain/ops/ops.hpp"
#include "libtrain/ops/sum_order.hpp"
#include "libtrain/tensor/memory_account.hpp"

namespace train {

/// What others need to know of a GPU to work with its memory.
struct Gpu {
  int index = 0;           ///< as CUDA counts those that the process may see
  void* stream = nullptr;  ///< the cudaStream_t of the device's work; lives as long as the device
};

/// Where a rank's tensors live and its ops run.
class Device {
 public:
  Device(std::unique_ptr<Memory> memory, std::unique_ptr<Ops> ops, int host_threads,
         std::optional<Gpu> gpu = {})
      : memory_(std::move(memory)), ops_(std::move(ops)), host_threads_(host_threads), gpu_(gpu) {
    for (const MemoryUse use : memory_uses) {
      accounts_[index(use)] = std::make_unique<MemoryAccount>(*memory_);
    }
  }

  /// The device's memory, booked under its use.
  MemoryAccount& memory(MemoryUse use = MemoryUse::activations) const {
    return *accounts_[index(use)];
  }
  Ops& ops() const { return *ops_; }
  /// How many threads of the host this rank may run: for the ops, where the device is the host,
  /// and for what the host does anyway.
  int host_threads() const { return host_threads_; }
  /// Nothing where the device is the host.
  const std::optional<Gpu>& gpu() const { return gpu_; }

 private:
  static std::size_t index(MemoryUse use) { return static_cast<std::size_t>(use); }

  std::unique_ptr<Memory> memory_;
  std::array<std::unique_ptr<MemoryAccount>, memory_uses.size()> accounts_;
  std::unique_ptr<Ops> ops_;
  int host_threads_;
  std::optional<Gpu> gpu_;
};

/// Fast ops on the host: oneDNN for matrix products, vectorised loops on `threads` OpenMP threads.
/// f32 and bf16. Use from one thread at a time.
std::unique_ptr<Device> make_cpu_device(int threads);

/// NVIDIA's GPU of this number, counted as CUDA counts those that the process may see. Throws Error
/// where there is none, its driver is too old, or the build has no CUDA (-DTRAIN_CUDA=ON).
std::unique_ptr<Device> make_cuda_device(int index, int host_threads = 1,
                                         SumOrder order = SumOrder::fixed);
/// How many GPUs this process may see; at least 1. Throws Error as make_cuda_device() does.
int count_cuda_devices();
/// What tells a GPU from all others, wherever processes see it: its UUID, in hexadecimal.
std::string identity_of_cuda_device(int index);

/// Plain loops on the host, one thread, f32, bf16 and f64: what other devices are tested against.
std::unique_ptr<Device> make_reference_device();

}  // namespace train

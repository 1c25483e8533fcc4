#pragma once

#include <memory>

#include "libtrain/ops/ops.hpp"
#include "libtrain/tensor/memory.hpp"

namespace train {

/// Where a rank's tensors live and its ops run.
class Device {
 public:
  Device(std::unique_ptr<Memory> memory, std::unique_ptr<Ops> ops)
      : memory_(std::move(memory)), ops_(std::move(ops)) {}

  Memory& memory() const { return *memory_; }
  Ops& ops() const { return *ops_; }

 private:
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<Ops> ops_;
};

/// Fast ops on the host: oneDNN for matrix products, vectorised loops on `threads` OpenMP threads.
/// f32 and bf16. Use from one thread at a time.
std::unique_ptr<Device> make_cpu_device(int threads);

/// Plain loops on the host, one thread, f32, bf16 and f64: what other devices are tested against.
std::unique_ptr<Device> make_reference_device();

}  // namespace train

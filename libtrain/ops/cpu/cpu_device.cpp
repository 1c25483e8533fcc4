#include <string>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/tensor/cpu/cpu_memory.hpp"

namespace train {
namespace cpu {

CpuOps::CpuOps(Memory& memory, int threads)
    : memory_(memory), gemm_(threads), threads_(gemm_.threads()) {}

std::string CpuOps::description() const {
  return fmt::format("{} of the processor's threads", threads_);
}

}  // namespace cpu

std::unique_ptr<Device> make_cpu_device(int threads) {
  if (threads < 1) {
    throw Error("a CPU device needs at least 1 thread, not " + std::to_string(threads));
  }
  auto memory = std::make_unique<CpuMemory>();
  auto ops = std::make_unique<cpu::CpuOps>(*memory, threads);
  return std::make_unique<Device>(std::move(memory), std::move(ops), threads);
}

}  // namespace train

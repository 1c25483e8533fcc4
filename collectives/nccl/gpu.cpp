#include "collectives/nccl/gpu.hpp"

#include <utility>

#include <fmt/format.h>

#include "collectives/cuda/poll.hpp"
#include "collectives/error.hpp"
#include "collectives/nccl/check.hpp"

namespace train::nccl {
namespace {

constexpr std::chrono::seconds passing_grace{10};

// The first whose abort from another thread does not hang (NVIDIA/nccl#992).
constexpr int version_min = 21901;

// The library need not be the one that the program was built with.
void require_version() {
  int version = 0;
  check(ncclGetVersion(&version), "ncclGetVersion");
  if (version >= version_min) return;
  const auto words = [](int number) {
    return number < 10000
               ? fmt::format("{}.{}.{}", number / 1000, number / 100 % 10, number % 100)
               : fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
  };
  throw Error(
      fmt::format("collectives between GPUs need NCCL {} or later, and this program finds {}: "
                  "install a later one (ldd says which libnccl.so.2 it takes; LD_LIBRARY_PATH)",
                  words(version_min), words(version)));
}

}  // namespace

Gpu::Gpu(const Options& options)
    : index_(options.device),
      compute_(static_cast<cudaStream_t>(options.compute_stream)),
      sums_(options.sums) {
  require_version();
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (index_ < 0 || index_ >= count) {
    throw Error(fmt::format("collectives on GPU {}: this process sees {} (CUDA_VISIBLE_DEVICES)",
                            index_, count));
  }
}

void Gpu::use() const {
  check(cudaSetDevice(index_), "cudaSetDevice");
}

detail::Place Gpu::place_of(const void* data, const std::string& buffer) const {
  use();  // else a thread of the host's own would open the first GPU as well
  cudaPointerAttributes attributes;
  check(cudaPointerGetAttributes(&attributes, data), "cudaPointerGetAttributes");
  if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged) {
    return detail::Place::host;
  }
  if (attributes.device != index_) {
    throw Error(fmt::format("{} lies on GPU {}, the group's rank has GPU {}", buffer,
                            attributes.device, index_));
  }
  return detail::Place::device;
}

StreamHandle Gpu::make_stream() const {
  use();
  int least = 0;
  int greatest = 0;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest),
        "cudaStreamCreateWithPriority");
  return StreamHandle(stream);
}

EventHandle Gpu::take_event() {
  {
    std::lock_guard lock(mutex_);
    if (!events_.empty()) {
      EventHandle event = std::move(events_.back());
      events_.pop_back();
      return event;
    }
  }
  cudaEvent_t event = nullptr;
  use();
  check(cudaEventCreateWithFlags(&event, cudaEventDefault), "cudaEventCreateWithFlags");
  return EventHandle(event);
}

void Gpu::give_back(EventHandle event) noexcept {
  if (!event) return;
  std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
}

bool Gpu::passes(cudaEvent_t event) noexcept {
  cudaSetDevice(index_);
  const auto deadline = hangs_ ? Clock::now() : Clock::now() + passing_grace;
  const bool passed =
      poll_until(deadline, [event] { return cudaEventQuery(event); }) != cudaErrorNotReady;
  if (!passed) hangs_ = true;
  return passed;
}

}  // namespace train::nccl

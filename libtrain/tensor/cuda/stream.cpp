#include "libtrain/tensor/cuda/stream.hpp"

#include <fmt/format.h>

#include "collectives/cuda/poll.hpp"
#include "collectives/error.hpp"
#include "libtrain/tensor/cuda/check.hpp"

namespace train::cuda {

Event::Event(const Stream& stream) : device_(stream.device()) {
  stream.use();
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  event_.reset(event);
}

void Event::record(const Stream& stream) {
  stream.use();
  check(cudaEventRecord(event_.get(), stream.get()), "cudaEventRecord");
}

bool Event::passed() const {
  cudaSetDevice(device_);  // else a thread of the host's own would open the first GPU as well
  const cudaError_t status = cudaEventQuery(event_.get());
  if (status == cudaErrorNotReady) return false;
  check(status, "cudaEventQuery");
  return true;
}

void Event::wait(std::chrono::milliseconds timeout) const {
  const auto status = poll_until(Clock::now() + timeout,
                                 [this] { return passed() ? cudaSuccess : cudaErrorNotReady; });
  if (status == cudaSuccess) return;
  throw Error(fmt::format(
      "CUDA device {}: work was not done after {} ms; it waits for another rank that is gone, or "
      "the GPU hangs: see the other ranks' messages, nvidia-smi, and the driver's (dmesg)",
      device_, timeout.count()));
}

Stream::Stream(int device) : device_(device) {
  use();
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  stream_.reset(stream);
}

void Stream::use() const {
  check(cudaSetDevice(device_), "cudaSetDevice");
}

void Stream::wait(const Event& event) const {
  use();
  check(cudaStreamWaitEvent(stream_.get(), event.get(), 0), "cudaStreamWaitEvent");
}

bool Stream::ends_within(std::chrono::milliseconds timeout) const noexcept {
  cudaSetDevice(device_);
  return poll_until(Clock::now() + timeout, [this] { return cudaStreamQuery(stream_.get()); }) !=
         cudaErrorNotReady;
}

void Stream::synchronize(std::chrono::milliseconds timeout) const {
  Event done(*this);
  done.record(*this);
  done.wait(timeout);
}

}  // namespace train::cuda

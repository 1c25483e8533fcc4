#include "tests/gpu/emulated/runtime/stream.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tests/gpu/emulated/runtime/device.hpp"
#include "tests/gpu/emulated/runtime/queue.hpp"

namespace {

struct Streams {
  std::mutex mutex;
  std::map<cudaStream_t, std::shared_ptr<CUstream_st>> all;  // those too that end their work
};

Streams& streams() {
  static Streams& streams = *new Streams;
  return streams;
}

}  // namespace

namespace emulated {

bool enqueue(cudaStream_t stream, std::function<void()> work) {
  if (stream == nullptr || stream->device() != current_device()) return false;
  stream->push(std::move(work));
  return true;
}

}  // namespace emulated

cudaError_t cudaDeviceSynchronize() {
  std::vector<std::shared_ptr<CUstream_st>> mine;
  {
    std::lock_guard lock(streams().mutex);
    for (const auto& [handle, stream] : streams().all) {
      if (stream->device() == emulated::current_device()) mine.push_back(stream);
    }
  }
  for (const auto& stream : mine) stream->wait();
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, 0);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  auto made = std::make_shared<CUstream_st>(emulated::current_device());
  *stream = made.get();
  std::lock_guard lock(streams().mutex);
  streams().all.emplace(*stream, std::move(made));
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

// Does not wait: what the stream holds is done all the same.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  emulated::current_device();
  std::shared_ptr<CUstream_st> held;
  {
    std::lock_guard lock(streams().mutex);
    const auto found = streams().all.find(stream);
    if (found == streams().all.end()) return emulated::report(cudaErrorInvalidResourceHandle);
    held = found->second;
  }
  const auto forget = [](std::shared_ptr<CUstream_st> ended) {
    ended->wait();
    std::lock_guard lock(streams().mutex);
    streams().all.erase(ended.get());
  };
  if (held->idle()) {
    forget(std::move(held));
  } else {
    std::thread(forget, std::move(held)).detach();
  }
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  emulated::current_device();
  if (stream == nullptr) return emulated::report(cudaErrorInvalidResourceHandle);
  stream->wait();
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  emulated::current_device();
  if (stream == nullptr) return emulated::report(cudaErrorInvalidResourceHandle);
  return stream->idle() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*function)(void*), void* argument) {
  emulated::current_device();
  if (stream == nullptr) return emulated::report(cudaErrorInvalidResourceHandle);
  stream->push([=] { function(argument); });
  return cudaSuccess;
}

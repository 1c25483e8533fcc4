#include "tests/gpu/emulated/runtime/stream.hpp"

#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "tests/gpu/emulated/runtime/device.hpp"
#include "tests/gpu/emulated/runtime/queue.hpp"

namespace {

struct Streams {
  std::mutex mutex;
  std::set<cudaStream_t> all;
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
  std::vector<cudaStream_t> mine;
  {
    std::lock_guard lock(streams().mutex);
    for (const cudaStream_t stream : streams().all) {
      if (stream->device() == emulated::current_device()) mine.push_back(stream);
    }
  }
  for (const cudaStream_t stream : mine) stream->wait();
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, 0);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st(emulated::current_device());
  std::lock_guard lock(streams().mutex);
  streams().all.insert(*stream);
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

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream == nullptr) return emulated::report(cudaErrorInvalidResourceHandle);
  {
    std::lock_guard lock(streams().mutex);
    streams().all.erase(stream);
  }
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream == nullptr) return emulated::report(cudaErrorInvalidResourceHandle);
  stream->wait();
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (stream == nullptr) return emulated::report(cudaErrorInvalidResourceHandle);
  return stream->idle() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*function)(void*), void* argument) {
  if (stream == nullptr) return emulated::report(cudaErrorInvalidResourceHandle);
  stream->push([=] { function(argument); });
  return cudaSuccess;
}

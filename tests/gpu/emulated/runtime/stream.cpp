#include "tests/gpu/emulated/runtime/stream.hpp"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "tests/gpu/emulated/runtime/memory.hpp"

// A stream is a thread with a queue, so that what a program forgot to wait for is missing.
struct CUstream_st {
 public:
  explicit CUstream_st(int device) : device_(device), worker_([this] { run(); }) {}
  ~CUstream_st() {
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }

  int device() const { return device_; }

  void push(std::function<void()> work) {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
    }
    changed_.notify_all();
  }

  bool idle() {
    std::lock_guard lock(mutex_);
    return queue_.empty() && !busy_;
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return queue_.empty() && !busy_; });
  }

 private:
  // Device memory stays open from the first work to the last of a busy time, because opening and
  // closing cost more than a small kernel.
  void run() {
    std::optional<emulated::OpenMemory> open;
    std::unique_lock lock(mutex_);
    while (true) {
      if (queue_.empty()) {
        open.reset();
        busy_ = false;
        changed_.notify_all();
        changed_.wait(lock, [&] { return ended_ || !queue_.empty(); });
        if (queue_.empty()) return;
      }
      busy_ = true;
      std::function<void()> work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      if (!open) open.emplace();
      work();
      work = nullptr;
      lock.lock();
    }
  }

  int device_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool busy_ = false;
  bool ended_ = false;
  std::thread worker_;
};

namespace {

using Clock = std::chrono::steady_clock;

// One recording of an event: what waits for it holds it, so that a later one changes nothing.
struct Record {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Clock::time_point> passed;

  void pass() {
    std::lock_guard lock(mutex);
    passed = Clock::now();
    changed.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return passed.has_value(); });
  }
  std::optional<Clock::time_point> time() {
    std::lock_guard lock(mutex);
    return passed;
  }
};

thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

struct Streams {
  std::mutex mutex;
  std::set<cudaStream_t> all;
};

Streams& streams() {
  static Streams& streams = *new Streams;
  return streams;
}

// Device memory that a copy names must be one block's; what the host names must not be a device's.
bool copy_makes_sense(const void* address, std::size_t bytes, bool on_device) {
  if (bytes == 0) return true;
  if (!on_device) return !emulated::is_device_memory(address);
  return emulated::in_block(address, bytes);
}

}  // namespace

struct CUevent_st {
  std::mutex mutex;
  bool timed = true;
  std::shared_ptr<Record> record;

  std::shared_ptr<Record> get() {
    std::lock_guard lock(mutex);
    return record;
  }
};

namespace emulated {

bool enqueue(cudaStream_t stream, std::function<void()> work) {
  if (stream == nullptr || stream->device() != current_device) return false;
  stream->push(std::move(work));
  return true;
}

}  // namespace emulated

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  return cudaGetErrorName(error);
}

cudaError_t cudaGetLastError() {
  return std::exchange(last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  return last_error;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = emulated::device_count;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= emulated::device_count) return report(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device < 0 || device >= emulated::device_count) return report(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = 48 * 1024;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = 227 * 1024;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = 2;  // few, so that small tests reach the loops over a grid
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
  }
  return report(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceSynchronize() {
  std::vector<cudaStream_t> mine;
  {
    std::lock_guard lock(streams().mutex);
    for (const cudaStream_t stream : streams().all) {
      if (stream->device() == current_device) mine.push_back(stream);
    }
  }
  for (const cudaStream_t stream : mine) stream->wait();
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  emulated::memory_info(current_device, free, total);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  *block = bytes == 0 ? nullptr : emulated::allocate(current_device, bytes);
  return report(*block == nullptr && bytes > 0 ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaFree(void* block) {
  if (block == nullptr) return cudaSuccess;
  cudaDeviceSynchronize();
  return report(emulated::release(block) ? cudaSuccess : cudaErrorInvalidValue);
}

// The block is there at once, which a stream's order allows; it goes in the stream's order.
cudaError_t cudaMallocAsync(void** block, std::size_t bytes, cudaStream_t stream) {
  if (stream == nullptr) return report(cudaErrorInvalidResourceHandle);
  return cudaMalloc(block, bytes);
}

cudaError_t cudaFreeAsync(void* block, cudaStream_t stream) {
  if (block == nullptr) return cudaSuccess;
  if (!emulated::in_block(block, 1)) return report(cudaErrorInvalidValue);
  const bool taken = emulated::enqueue(stream, [block] { emulated::release(block); });
  return report(taken ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaHostAlloc(void** block, std::size_t bytes, unsigned) {
  *block = emulated::allocate_pinned(bytes);
  return report(*block == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaMallocHost(void** block, std::size_t bytes) {
  return cudaHostAlloc(block, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void* block) {
  if (block == nullptr) return cudaSuccess;
  cudaDeviceSynchronize();
  return report(emulated::release_pinned(block) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemcpy(void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind) {
  static thread_local std::unique_ptr<CUstream_st> streams_of_thread[emulated::device_count];
  auto& stream = streams_of_thread[current_device];
  if (!stream) stream = std::make_unique<CUstream_st>(current_device);
  const cudaError_t status = cudaMemcpyAsync(target, source, bytes, kind, stream.get());
  stream->wait();
  return status;
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(target, bytes, source, bytes, bytes, 1, kind, stream);
}

// As CUDA says of pageable host memory: the source is read before the call returns, and the target
// is written when it returns.
cudaError_t cudaMemcpy2DAsync(void* target, std::size_t target_pitch, const void* source,
                              std::size_t source_pitch, std::size_t width_bytes, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  const bool from_device = kind == cudaMemcpyDefault
                               ? emulated::is_device_memory(source)
                               : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool to_device = kind == cudaMemcpyDefault
                             ? emulated::is_device_memory(target)
                             : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  if (width_bytes == 0 || height == 0) return cudaSuccess;
  const std::size_t target_bytes = (height - 1) * target_pitch + width_bytes;
  const std::size_t source_bytes = (height - 1) * source_pitch + width_bytes;
  if (!copy_makes_sense(target, target_bytes, to_device) ||
      !copy_makes_sense(source, source_bytes, from_device)) {
    return report(cudaErrorInvalidValue);
  }
  const auto copy = [=](const std::byte* from) {
    for (std::size_t row = 0; row < height; ++row) {
      std::memmove(static_cast<std::byte*>(target) + row * target_pitch, from + row * source_pitch,
                   width_bytes);
    }
  };
  const auto* first = static_cast<const std::byte*>(source);
  bool taken = false;
  if (from_device || emulated::is_pinned(source, source_bytes)) {
    taken = emulated::enqueue(stream, [=] { copy(first); });
  } else {
    std::vector<std::byte> staged(first, first + source_bytes);
    taken = emulated::enqueue(stream, [=, staged = std::move(staged)] { copy(staged.data()); });
  }
  if (!taken) return report(cudaErrorInvalidResourceHandle);
  if (!to_device && !emulated::is_pinned(target, target_bytes)) stream->wait();
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* block, int value, std::size_t bytes, cudaStream_t stream) {
  if (!copy_makes_sense(block, bytes, true)) return report(cudaErrorInvalidValue);
  const bool taken = emulated::enqueue(stream, [=] { std::memset(block, value, bytes); });
  return report(taken ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, 0);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st(current_device);
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
  if (stream == nullptr) return report(cudaErrorInvalidResourceHandle);
  {
    std::lock_guard lock(streams().mutex);
    streams().all.erase(stream);
  }
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream == nullptr) return report(cudaErrorInvalidResourceHandle);
  stream->wait();
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (stream == nullptr) return report(cudaErrorInvalidResourceHandle);
  return stream->idle() ? cudaSuccess : cudaErrorNotReady;
}

// A stream may wait for an event of another device: `stream` alone decides whose work this is.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (stream == nullptr || event == nullptr) return report(cudaErrorInvalidResourceHandle);
  if (const auto record = event->get()) stream->push([record] { record->wait(); });
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*function)(void*), void* argument) {
  if (stream == nullptr) return report(cudaErrorInvalidResourceHandle);
  stream->push([=] { function(argument); });
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st;
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  auto record = std::make_shared<Record>();
  if (!emulated::enqueue(stream, [record] { record->pass(); })) {
    return report(cudaErrorInvalidResourceHandle);
  }
  std::lock_guard lock(event->mutex);
  event->record = std::move(record);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const auto record = event->get();
  return record == nullptr || record->time() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const auto record = event->get()) record->wait();
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const auto first = begin->get(), last = end->get();
  if (!begin->timed || !end->timed || !first || !last) {
    return report(cudaErrorInvalidResourceHandle);
  }
  const auto from = first->time(), to = last->time();
  if (!from || !to) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(*to - *from).count();
  return cudaSuccess;
}

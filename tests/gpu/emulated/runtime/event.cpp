#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "tests/gpu/emulated/runtime/device.hpp"
#include "tests/gpu/emulated/runtime/queue.hpp"
#include "tests/gpu/emulated/runtime/stream.hpp"

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

}  // namespace

struct CUevent_st {
  std::mutex mutex;
  int device = emulated::current_device();
  bool timed = true;
  std::shared_ptr<Record> record;

  std::shared_ptr<Record> get() {
    std::lock_guard lock(mutex);
    return record;
  }
};

// A stream may wait for an event of another device: `stream` alone decides whose work this is.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  emulated::current_device();
  if (stream == nullptr || event == nullptr)
    return emulated::report(cudaErrorInvalidResourceHandle);
  if (const auto record = event->get()) stream->push([record] { record->wait(); });
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
  emulated::current_device();
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  auto record = std::make_shared<Record>();
  if (stream != nullptr && stream->device() != event->device) {
    return emulated::report(cudaErrorInvalidResourceHandle);
  }
  if (!emulated::enqueue(stream, [record] { record->pass(); })) {
    return emulated::report(cudaErrorInvalidResourceHandle);
  }
  std::lock_guard lock(event->mutex);
  event->record = std::move(record);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  emulated::current_device();
  const auto record = event->get();
  return record == nullptr || record->time() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  emulated::current_device();
  if (const auto record = event->get()) record->wait();
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  emulated::current_device();
  const auto first = begin->get(), last = end->get();
  if (begin->device != end->device || !begin->timed || !end->timed || !first || !last) {
    return emulated::report(cudaErrorInvalidResourceHandle);
  }
  const auto from = first->time(), to = last->time();
  if (!from || !to) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(*to - *from).count();
  return cudaSuccess;
}

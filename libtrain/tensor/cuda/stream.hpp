#pragma once

#include <chrono>

#include <cuda_runtime.h>

#include "collectives/cuda/handles.hpp"

namespace train::cuda {

class Stream;

/// A place in a stream's work. Until it is recorded, it counts as passed.
class Event {
 public:
  explicit Event(const Stream& stream);

  cudaEvent_t get() const { return event_.get(); }
  /// Moves the event to behind all work that `stream` holds now.
  void record(const Stream& stream);
  bool passed() const;
  /// Returns when the place is passed; throws Error after `timeout`.
  void wait(std::chrono::milliseconds timeout = default_timeout) const;

  /// Longer than any work that one step puts into a stream.
  static constexpr std::chrono::milliseconds default_timeout = std::chrono::minutes(10);

 private:
  EventHandle event_;
  int device_;
};

/// Work of one device, done in the order in which it is given. Does not wait for the legacy
/// default stream. Threads may share it.
class Stream {
 public:
  /// On device `device`, counted from 0 among those that CUDA_VISIBLE_DEVICES leaves.
  explicit Stream(int device);

  cudaStream_t get() const { return stream_.get(); }
  int device() const { return device_; }
  /// Makes the stream's device the calling thread's, as calls of CUDA's libraries need it.
  void use() const;
  /// Later work waits for the event; the host does not.
  void wait(const Event& event) const;
  /// Returns when all work that was given is done; throws Error after `timeout`.
  void synchronize(std::chrono::milliseconds timeout = Event::default_timeout) const;
  /// Whether the work that was given ends, well or not, within `timeout`.
  bool ends_within(std::chrono::milliseconds timeout) const noexcept;

 private:
  int device_;
  StreamHandle stream_;
};

}  // namespace train::cuda

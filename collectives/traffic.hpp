#pragma once

#include <cstdint>
#include <initializer_list>

namespace train {

/// What one rank spent on one kind of call since its communicator was made.
struct TrafficOf {
  std::uint64_t calls = 0;
  /// Payload that left this rank for another. Ranks that are threads of one process read each
  /// other's memory instead; for them it is what would have left.
  std::uint64_t bytes_sent = 0;
  /// From the moment the call reached the head of the queue to its end: the wait for late ranks
  /// is part of it. Zero for messages, which pass beside the queue.
  double seconds = 0;

  TrafficOf& operator+=(const TrafficOf& other) {
    calls += other.calls;
    bytes_sent += other.bytes_sent;
    seconds += other.seconds;
    return *this;
  }
};

/// A communicator's counters by kind of call. Failed calls are not counted.
struct Traffic {
  TrafficOf all_reduce, reduce_scatter, all_gather, broadcast, all_to_all, barrier, split;
  /// `send` counts bytes that leave; `receive` counts calls only.
  TrafficOf send, receive;

  TrafficOf total() const {
    TrafficOf sum;
    for (const auto& part : {all_reduce, reduce_scatter, all_gather, broadcast, all_to_all, barrier,
                             split, send, receive}) {
      sum += part;
    }
    return sum;
  }
};

}  // namespace train

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "collectives/call_record.hpp"
#include "collectives/traffic.hpp"
#include "collectives/types.hpp"
#include "collectives/work.hpp"

namespace train {

/// A group of ranks that talk. Every rank of the group makes the same collective calls in the same
/// order; calls return at once and run in that order in the background. Ranks that disagree on an
/// operation, its type or its counts get an Error that names rank, operation and sequence number,
/// and no buffer is written. A call that outlasts the communicator's deadline fails with the names
/// of the missing ranks. Bad arguments throw from the call itself and cost the group nothing.
/// Any other failure is final: all later calls throw at once and repeat the first failure.
/// Destruction finishes the calls under way (each by its deadline); while an exception unwinds it
/// gives them up instead, and the other ranks are told.
/// Costs below are bytes sent per rank for n ranks and a message of S bytes.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// What messages call this group: "world", "data", …
  virtual const std::string& name() const = 0;

  /// receive = reduction over ranks of send; all ranks get the same bits. Buffers of one count may
  /// be the same memory. Cost 2 S (n-1)/n. Summed in rank order (on GPUs: see nccl::Sums).
  virtual Work all_reduce(ConstBuffer send, Buffer receive, ReduceOp op) = 0;
  /// The reduction of `send`, cut into blocks of counts[r] elements: rank r receives block r.
  /// In place: receive points at this rank's block within send. Cost S (n-1)/n.
  virtual Work reduce_scatter(ConstBuffer send, Buffer receive, std::span<const std::size_t> counts,
                              ReduceOp op) = 0;
  /// Blocks of counts[r] elements (0 is allowed), concatenated in rank order. In place: send points
  /// at this rank's block within receive. Cost S (n-1)/n, S the size of receive.
  virtual Work all_gather(ConstBuffer send, Buffer receive,
                          std::span<const std::size_t> counts) = 0;
  /// Root's buffer to every rank. Cost S at the root, S (n-2)/(n-1) elsewhere.
  virtual Work broadcast(Buffer buffer, int root) = 0;
  /// Block r of send (send_counts[r] elements) goes to rank r; block r of receive comes from it.
  /// Not in place. Cost the size of send less the rank's own block.
  virtual Work all_to_all(ConstBuffer send, std::span<const std::size_t> send_counts,
                          Buffer receive, std::span<const std::size_t> receive_counts) = 0;
  /// Point to point, beside the queue of collectives. Messages between two ranks with one tag
  /// (0 <= tag < 2^20) arrive in the order of their calls; a receive whose type or count differs
  /// from the send's fails on the receiver's side. A large send is done when it was received: to
  /// swap buffers, call both before waiting for either.
  virtual Work send(ConstBuffer buffer, int peer, int tag) = 0;
  virtual Work receive(Buffer buffer, int peer, int tag) = 0;
  virtual Work barrier() = 0;

  /// Ranks with the same color form a new group, ordered by key, then rank; color -1 takes part but
  /// joins none and gets nullptr. The group inherits the timeout. Collective; blocks.
  virtual std::unique_ptr<Communicator> split(int color, int key, std::string name) = 0;

  /// How long a call may take before it fails; 10 minutes unless set. For calls made from now on.
  virtual void set_timeout(std::chrono::milliseconds timeout) = 0;

  /// Calls, bytes and seconds so far on this rank. Safe while calls are under way.
  virtual Traffic traffic() const = 0;

  /// Calls `observer` after each collective that ends well from now on, on the thread that ran it,
  /// one call at a time, and before whoever waits for that collective goes on. It should be quick,
  /// must not throw, and must not call this communicator. Replaces the observer before; an empty
  /// function ends observing. Once observe() returns, the observer before neither runs nor will.
  /// Messages are not observed, and parts made by split() do not inherit the observer.
  virtual void observe(std::function<void(const CallRecord&)> observer) = 0;

 protected:
  Communicator() = default;
};

}  // namespace train

#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "collectives/communicator.hpp"
#include "collectives/ordered/fault.hpp"
#include "collectives/ordered/transport.hpp"
#include "collectives/ordered/worker.hpp"

namespace train::detail {

/// What all backends share: checks arguments on the caller's thread, numbers the collectives, and
/// hands them to one worker, which has all ranks meet and agree before it lets the transport move
/// the data. Messages go straight to the transport.
class OrderedCommunicator final : public Communicator {
 public:
  static constexpr std::chrono::milliseconds default_timeout = std::chrono::minutes(10);

  explicit OrderedCommunicator(std::shared_ptr<Transport> transport,
                               std::chrono::milliseconds timeout = default_timeout);
  ~OrderedCommunicator() override;

  int rank() const override { return who_.rank; }
  int size() const override { return who_.size; }
  const std::string& name() const override { return who_.group; }

  Work all_reduce(ConstBuffer send, Buffer receive, ReduceOp op) override;
  Work reduce_scatter(ConstBuffer send, Buffer receive, std::span<const std::size_t> counts,
                      ReduceOp op) override;
  Work all_gather(ConstBuffer send, Buffer receive, std::span<const std::size_t> counts) override;
  Work broadcast(Buffer buffer, int root) override;
  Work all_to_all(ConstBuffer send, std::span<const std::size_t> send_counts, Buffer receive,
                  std::span<const std::size_t> receive_counts) override;
  Work send(ConstBuffer buffer, int peer, int tag) override;
  Work receive(Buffer buffer, int peer, int tag) override;
  Work barrier() override;
  std::unique_ptr<Communicator> split(int color, int key, std::string name) override;
  void set_timeout(std::chrono::milliseconds timeout) override;
  Traffic traffic() const override;
  void observe(std::function<void(const CallRecord&)> observer) override;

  std::chrono::milliseconds timeout() const { return timeout_.load(); }
  /// As split(), for a backend that has its data moved by another transport than this one's.
  std::shared_ptr<Transport> split_transport(int color, int key, std::string name);

  /// Gives the group up from outside: calls under way and later ones throw `why`, here and on the
  /// other ranks.
  void fail(const std::string& why) noexcept;

 private:
  struct Queued {
    std::shared_ptr<Ticket> ticket;
    std::shared_ptr<Flight> flight;  // null where there is none
  };

  Deadline deadline_from(Clock::time_point now) const;
  Work start(Operation operation);
  Queued enqueue(Operation operation);
  Work track(std::shared_ptr<Work::State> message);
  void run(Worker::Task& task) noexcept;
  /// Has the transport launch an operation, which is accounted for when it lands.
  void fly(const Operation& operation);
  /// Adds a call that ended well to the counters, and shows it to the observer.
  void account(const Operation& operation, const Flight::Landing& landing);
  void show(const CallRecord& record);

  std::shared_ptr<Transport> transport_;
  const Membership who_;
  /// Shared with messages, which may outlive the communicator.
  std::shared_ptr<FaultLatch> latch_;
  const int exceptions_at_birth_;
  std::atomic<std::chrono::milliseconds> timeout_;
  /// Guards the numbering: operations enter the queue in the order of their numbers.
  std::mutex order_;
  std::uint64_t next_sequence_ = 0;
  mutable std::mutex traffic_mutex_;
  Traffic traffic_;
  /// Lets calls that nobody observes pass by the lock below.
  std::atomic<bool> observed_ = false;
  /// Held while the observer runs.
  std::mutex observer_mutex_;
  std::function<void(const CallRecord&)> observer_;
  /// Shared with tickets, whose waiters may lend it their thread.
  std::shared_ptr<Worker> worker_;
};

}  // namespace train::detail

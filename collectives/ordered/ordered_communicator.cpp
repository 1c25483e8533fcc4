#include "collectives/ordered/ordered_communicator.hpp"

#include <exception>
#include <utility>

#include <fmt/format.h>

#include "collectives/ordered/arguments.hpp"

namespace train::detail {
namespace {

// A message whose failure fails the communicator too.
class Message : public Work::State {
 public:
  Message(std::shared_ptr<Work::State> inner, std::shared_ptr<Transport> transport,
          std::shared_ptr<FaultLatch> latch)
      : inner_(std::move(inner)), transport_(std::move(transport)), latch_(std::move(latch)) {}

  bool wait_until(Deadline deadline) override {
    try {
      return inner_->wait_until(deadline);
    } catch (const std::exception&) {
      const auto fault = current_fault();
      latch_->record(fault);
      transport_->fail(fault);
      fault.raise();
    }
  }

 private:
  std::shared_ptr<Work::State> inner_;
  std::shared_ptr<Transport> transport_;
  std::shared_ptr<FaultLatch> latch_;
};

// An operation of a device: launched in its turn, then in flight.
class Launched : public Work::State {
 public:
  Launched(std::shared_ptr<Ticket> ticket, std::shared_ptr<Flight> flight)
      : ticket_(std::move(ticket)), flight_(std::move(flight)) {}

  bool wait_until(Deadline deadline) override {
    return ticket_->wait_until(deadline) && flight_->wait_until(deadline);
  }

 private:
  std::shared_ptr<Ticket> ticket_;
  std::shared_ptr<Flight> flight_;
};

TrafficOf& part_of(Traffic& traffic, Kind kind) {
  switch (kind) {
    case Kind::all_reduce:
      return traffic.all_reduce;
    case Kind::reduce_scatter:
      return traffic.reduce_scatter;
    case Kind::all_gather:
      return traffic.all_gather;
    case Kind::broadcast:
      return traffic.broadcast;
    case Kind::all_to_all:
      return traffic.all_to_all;
    case Kind::barrier:
      return traffic.barrier;
    case Kind::split:
      return traffic.split;
  }
  unreachable("unknown Kind");
}

}  // namespace

OrderedCommunicator::OrderedCommunicator(std::shared_ptr<Transport> transport,
                                         std::chrono::milliseconds timeout)
    : transport_(std::move(transport)),
      who_(transport_->who()),
      latch_(std::make_shared<FaultLatch>()),
      exceptions_at_birth_(std::uncaught_exceptions()),
      timeout_(timeout),
      worker_(std::make_shared<Worker>([this](Worker::Task& task) { run(task); })) {
  transport_->report_to(latch_);
}

OrderedCommunicator::~OrderedCommunicator() {
  if (std::uncaught_exceptions() > exceptions_at_birth_) {
    fail(fmt::format("an exception on rank {} ended group '{}'", who_.rank, who_.group));
  }
  worker_->join();
  transport_->leave();
}

Work OrderedCommunicator::all_reduce(ConstBuffer send, Buffer receive, ReduceOp op) {
  Operation operation{.kind = Kind::all_reduce, .op = op};
  operation.send = send;
  operation.receive = receive;
  return start(std::move(operation));
}

Work OrderedCommunicator::reduce_scatter(ConstBuffer send, Buffer receive,
                                         std::span<const std::size_t> counts, ReduceOp op) {
  Operation operation{.kind = Kind::reduce_scatter, .op = op};
  operation.send = send;
  operation.receive = receive;
  operation.counts.assign(counts.begin(), counts.end());
  return start(std::move(operation));
}

Work OrderedCommunicator::all_gather(ConstBuffer send, Buffer receive,
                                     std::span<const std::size_t> counts) {
  Operation operation{.kind = Kind::all_gather};
  operation.send = send;
  operation.receive = receive;
  operation.counts.assign(counts.begin(), counts.end());
  return start(std::move(operation));
}

Work OrderedCommunicator::broadcast(Buffer buffer, int root) {
  Operation operation{.kind = Kind::broadcast, .root = root};
  operation.send = buffer;
  operation.receive = buffer;
  return start(std::move(operation));
}

Work OrderedCommunicator::all_to_all(ConstBuffer send, std::span<const std::size_t> send_counts,
                                     Buffer receive, std::span<const std::size_t> receive_counts) {
  Operation operation{.kind = Kind::all_to_all};
  operation.send = send;
  operation.receive = receive;
  operation.counts.assign(send_counts.begin(), send_counts.end());
  operation.receive_counts.assign(receive_counts.begin(), receive_counts.end());
  return start(std::move(operation));
}

Work OrderedCommunicator::barrier() {
  return start(Operation{.kind = Kind::barrier});
}

std::unique_ptr<Communicator> OrderedCommunicator::split(int color, int key, std::string name) {
  auto part = split_transport(color, key, std::move(name));
  if (!part) return nullptr;
  return std::make_unique<OrderedCommunicator>(std::move(part), timeout_.load());
}

std::shared_ptr<Transport> OrderedCommunicator::split_transport(int color, int key,
                                                                std::string name) {
  Operation operation{.kind = Kind::split};
  operation.color = color;
  operation.key = key;
  operation.name = std::move(name);
  const auto ticket = enqueue(std::move(operation)).ticket;
  ticket->wait_until(Deadline::max());
  return std::move(ticket->part);
}

Work OrderedCommunicator::send(ConstBuffer buffer, int peer, int tag) {
  check_message(who_, "send", buffer, peer, tag);
  latch_->raise_if_set();
  auto work = track(transport_->send(buffer, peer, tag, deadline_from(Clock::now())));
  std::lock_guard lock(traffic_mutex_);
  ++traffic_.send.calls;
  if (peer != who_.rank) traffic_.send.bytes_sent += buffer.bytes();
  return work;
}

Work OrderedCommunicator::receive(Buffer buffer, int peer, int tag) {
  check_message(who_, "receive", buffer, peer, tag);
  latch_->raise_if_set();
  auto work = track(transport_->receive(buffer, peer, tag, deadline_from(Clock::now())));
  std::lock_guard lock(traffic_mutex_);
  ++traffic_.receive.calls;
  return work;
}

void OrderedCommunicator::set_timeout(std::chrono::milliseconds timeout) {
  if (timeout.count() <= 0) {
    throw Error(fmt::format("set_timeout on rank {} of group '{}': {} ms is not positive",
                            who_.rank, who_.group, timeout.count()));
  }
  timeout_ = timeout;
}

Traffic OrderedCommunicator::traffic() const {
  transport_->land_flights();
  std::lock_guard lock(traffic_mutex_);
  return traffic_;
}

void OrderedCommunicator::observe(std::function<void(const CallRecord&)> observer) {
  std::lock_guard lock(observer_mutex_);
  // The one before is destroyed with the argument, after the lock.
  observer_.swap(observer);
  observed_ = static_cast<bool>(observer_);
}

void OrderedCommunicator::fail(const std::string& why) noexcept {
  latch_->record({why, false});
  transport_->fail({why, false});
}

Deadline OrderedCommunicator::deadline_from(Clock::time_point now) const {
  const auto timeout = timeout_.load();
  const auto left = std::chrono::floor<std::chrono::milliseconds>(Deadline::max() - now);
  return timeout < left ? now + timeout : Deadline::max();
}

Work OrderedCommunicator::start(Operation operation) {
  auto [ticket, flight] = enqueue(std::move(operation));
  if (!flight) return Work(std::move(ticket));
  return Work(std::make_shared<Launched>(std::move(ticket), std::move(flight)));
}

OrderedCommunicator::Queued OrderedCommunicator::enqueue(Operation operation) {
  check_arguments(who_, operation);
  latch_->raise_if_set();
  auto ticket = std::make_shared<Ticket>(worker_);
  std::lock_guard lock(order_);
  transport_->prepare(operation);
  operation.called = Clock::now();
  operation.deadline = deadline_from(operation.called);
  operation.sequence = next_sequence_++;
  auto flight = operation.flight;
  worker_->push({std::move(operation), ticket});
  return {std::move(ticket), std::move(flight)};
}

Work OrderedCommunicator::track(std::shared_ptr<Work::State> message) {
  return Work(std::make_shared<Message>(std::move(message), transport_, latch_));
}

void OrderedCommunicator::run(Worker::Task& task) noexcept {
  const auto& operation = task.operation;
  const auto began = Clock::now();
  if (const auto fault = latch_->fault()) return task.ticket->fail(*fault);
  try {
    const auto arrivals = transport_->meet(operation);
    require_agreement(who_, arrivals);
    if (operation.kind == Kind::split) {
      task.ticket->part = transport_->split(operation, members_of(arrivals, operation.color));
      account(operation, {began, Clock::now(), 0});
    } else if (operation.flight) {
      fly(operation);
    } else {
      const auto bytes = transport_->move(operation);
      account(operation, {began, Clock::now(), bytes});
    }
    task.ticket->finish();
  } catch (...) {
    const auto fault = current_fault();
    latch_->record(fault);
    transport_->fail(fault);
    task.ticket->fail(latch_->fault().value_or(fault));
  }
}

void OrderedCommunicator::fly(const Operation& operation) {
  Operation noted = operation;
  noted.flight.reset();  // which will hold what is made here
  operation.flight->on_landing = [this, noted = std::move(noted)](const Flight::Landing& landing) {
    account(noted, landing);
  };
  operation.flight->waits_on_host = observed_;
  static_cast<void>(transport_->move(operation));
}

void OrderedCommunicator::account(const Operation& operation, const Flight::Landing& landing) {
  const auto& [began, ended, bytes] = landing;
  {
    std::lock_guard lock(traffic_mutex_);
    auto& part = part_of(traffic_, operation.kind);
    ++part.calls;
    part.bytes_sent += bytes;
    part.seconds += std::chrono::duration<double>(ended - began).count();
  }
  if (!observed_) return;
  const ConstBuffer message =
      operation.kind == Kind::all_gather ? ConstBuffer(operation.receive) : operation.send;
  show({.group = who_.group,
        .operation = name_of(operation.kind),
        .count = message.count,
        .type = message.type,
        .bytes_sent = bytes,
        .sequence = operation.sequence,
        .called = operation.called,
        .began = began,
        .ended = ended});
}

void OrderedCommunicator::show(const CallRecord& record) {
  std::lock_guard lock(observer_mutex_);
  if (observer_) observer_(record);
}

}  // namespace train::detail

#include "collectives/nccl/transport.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::nccl {

using detail::Arrival;
using detail::Kind;
using detail::Operation;
using detail::Place;

namespace {

// How long a rank that leaves waits for the others to let go of its memory.
constexpr std::chrono::seconds leave_grace{5};

bool has_buffers(Kind kind) {
  return kind != Kind::barrier && kind != Kind::split;
}

}  // namespace

NcclTransport::NcclTransport(std::shared_ptr<detail::Transport> host, std::shared_ptr<Gpu> gpu)
    : host_(std::move(host)),
      gpu_(std::move(gpu)),
      messages_(gpu_),
      watch_(
          who(), [this] { look(); },
          [this](const detail::Fault& fault) {
            if (latch_) latch_->record(fault);
            fail(fault);
          }) {}

NcclTransport::~NcclTransport() {
  cudaSetDevice(gpu_->index());  // the last thread to let go need not be one that used it
}

void NcclTransport::report_to(std::shared_ptr<detail::FaultLatch> latch) {
  latch_ = std::move(latch);
}

Place NcclTransport::place_of(const char* call, ConstBuffer buffer) const {
  if (buffer.count == 0) return Place::nowhere;
  return gpu_->place_of(buffer.data, fmt::format("{} on rank {} of group '{}': a buffer", call,
                                                 who().rank, who().group));
}

Place NcclTransport::place_of(const Operation& operation) const {
  const auto* call = name_of(operation.kind);
  const auto send = place_of(call, operation.send);
  const auto receive = place_of(call, operation.receive);
  if (send == Place::nowhere) return receive;
  if (receive == Place::nowhere || receive == send) return send;
  throw Error(fmt::format(
      "{} on rank {} of group '{}': send lies in the {}'s memory and receive in the {}'s; "
      "copy one of them first",
      call, who().rank, who().group, send == Place::device ? "GPU" : "host",
      receive == Place::device ? "GPU" : "host"));
}

void NcclTransport::prepare(Operation& operation) {
  gpu_->lost().raise_if_set();
  if (!has_buffers(operation.kind)) return;
  operation.place = place_of(operation);
  if (operation.place == Place::device) operation.flight = std::make_shared<Flight>(gpu_);
}

std::vector<Arrival> NcclTransport::meet(const Operation& operation) {
  agreed_ = operation.place;
  if (operation.place == Place::host) return host_->meet(operation);
  meeting_ = operation;
  meeting_.flight.reset();
  if (!comm_ && who().rank == 0) {
    // Kept if the ranks turn out to have no use for it now.
    gpu_->use();
    if (id_ == Comm::Id{}) id_ = Comm::make_id();
    meeting_.attached.assign(id_.begin(), id_.end());
  }
  auto arrivals = host_->meet(meeting_);
  agreed_ = detail::place_of(arrivals);
  const auto& brought = arrivals.front();
  if (!comm_ && brought.signature.attached == id_.size()) {
    std::ranges::copy(brought.details.end() - static_cast<std::ptrdiff_t>(id_.size()),
                      brought.details.end(), id_.begin());
  }
  return arrivals;
}

std::uint64_t NcclTransport::move(const Operation& operation) {
  // A barrier ends after the calls before it.
  if (operation.kind == Kind::barrier) watch_.drain();
  if (given_up_) throw Error(fmt::format("group '{}' was given up", who().group));
  if (agreed_ != Place::device) {
    return host_->move(operation.place == Place::host ? operation : meeting_);
  }
  // Ends the meeting, for a transport whose ranks part together; and asks whether all are there.
  Operation parting{.kind = Kind::barrier};
  parting.sequence = operation.sequence;
  parting.deadline = operation.deadline;
  static_cast<void>(host_->move(parting));
  gpu_->use();
  open(operation);
  const auto flight = std::static_pointer_cast<Flight>(operation.flight);
  if (!flight) return 0;  // all_to_all of a rank that has nothing to send or receive
  flight->depart(comm_->stream(), operation);
  const auto bytes = moves_->launch(operation);
  flight->launched(comm_->stream(), bytes);
  // The group may have failed since the launch, which ended it as any other.
  if (const auto fault = watch_.add(flight)) {
    lose(*fault);
    fault->raise();
  }
  return bytes;
}

void NcclTransport::open(const Operation& operation) {
  if (comm_) return;
  auto comm =
      std::make_unique<Comm>(gpu_, id_, who().rank, who().size, operation.deadline, given_up_);
  std::lock_guard lock(mutex_);
  comm_ = std::move(comm);
  moves_ = std::make_unique<Moves>(*comm_, who(), gpu_->sums());
}

void NcclTransport::look() {
  host_->check_peers();
  // One group's abort may have to wait for the kernels of all.
  gpu_->lost().raise_if_set();
  std::lock_guard lock(mutex_);
  if (comm_) comm_->check_async();
}

std::shared_ptr<detail::Transport> NcclTransport::split(const Operation& operation,
                                                        std::span<const int> members) {
  auto part = host_->split(operation, members);
  return part ? std::make_shared<NcclTransport>(std::move(part), gpu_) : nullptr;
}

std::shared_ptr<Work::State> NcclTransport::send(ConstBuffer buffer, int peer, int tag,
                                                 Deadline deadline) {
  gpu_->lost().raise_if_set();
  if (place_of("send", buffer) != Place::device) return host_->send(buffer, peer, tag, deadline);
  return messages_.send(*host_, buffer, peer, tag, deadline);
}

std::shared_ptr<Work::State> NcclTransport::receive(Buffer buffer, int peer, int tag,
                                                    Deadline deadline) {
  gpu_->lost().raise_if_set();
  if (place_of("receive", buffer) != Place::device) {
    return host_->receive(buffer, peer, tag, deadline);
  }
  return messages_.receive(*host_, buffer, peer, tag, deadline);
}

void NcclTransport::fail(const detail::Fault& why) noexcept {
  given_up_ = true;
  // In this order: whoever is let go on by the abort finds the failure.
  if (watch_.fail_all(why)) lose(why);
  host_->fail(why);
  std::lock_guard lock(mutex_);
  if (comm_) comm_->abort();
}

void NcclTransport::lose(const detail::Fault& why) {
  gpu_->lost().record(
      {fmt::format("data under way between GPUs was lost, so what rank {} computed since is not to "
                   "be used: {}",
                   who().rank, why.message),
       why.of_peer});
}

void NcclTransport::leave() noexcept {
  if (!given_up_) {
    watch_.drain();
    messages_.drain();
  }
  host_->leave();
  std::lock_guard lock(mutex_);
  if (comm_) comm_->close(leave_grace);
}

}  // namespace train::nccl

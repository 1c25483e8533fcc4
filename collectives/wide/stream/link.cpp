#include "collectives/wide/stream/link.hpp"

#include <algorithm>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/link_impl.hpp"

namespace train::wide {
namespace {

void check(const LinkOptions& options) {
  for (const auto& address : options.addresses) detail::split_address(address);
  const auto in_range = [](int count) { return count >= 1 && count <= LinkOptions::streams_max; };
  if (!in_range(options.streams.value_or(1)) || !in_range(options.auto_streams.first) ||
      !in_range(options.auto_streams.most)) {
    throw Error("a link has 1 to " + std::to_string(LinkOptions::streams_max) + " streams");
  }
  if (options.chunk_bytes < detail::chunk_bytes_min ||
      options.chunk_bytes > detail::chunk_bytes_max) {
    throw Error("chunks have 4 KiB to 4 MiB, not " + std::to_string(options.chunk_bytes) +
                " bytes");
  }
}

}  // namespace

const PeerName& Link::peer() const {
  return impl_->peer();
}
void Link::post(std::span<const std::byte> message) {
  impl_->post(message);
}
Transfer Link::send(std::uint64_t id, std::span<const std::byte> memory, Deadline deadline,
                    SendOptions options) {
  return impl_->send(id, memory, deadline, options);
}
Transfer Link::receive(std::uint64_t id, std::span<std::byte> memory, Deadline deadline) {
  return impl_->receive(id, memory, deadline);
}
bool Link::wait_connected(Deadline deadline) {
  return impl_->wait_connected(deadline);
}
int Link::streams() const {
  return impl_->streams();
}
LinkTraffic Link::traffic() const {
  return impl_->traffic();
}
void Link::close(const std::string& reason) {
  impl_->close(reason);
}

Link::Impl::Impl(detail::Services& services, PeerName peer)
    : services_(services),
      peer_(std::move(peer)),
      session_(services.draw_session()),
      random_(session_) {}

Link::Impl::~Impl() {
  fail_all("the link to " + peer_.to_string() + " is gone");
}

void Link::Impl::use(LinkOptions options) {
  check(options);
  const std::lock_guard lock(mutex_);
  const auto first = options.streams.value_or(options.auto_streams.first);
  const auto most = options.streams.value_or(options.auto_streams.most);
  options_ = std::move(options);
  count_ = detail::StreamCount(first, most);
}

void Link::Impl::require_open() const {
  if (closed_) throw Error("the link to " + peer_.to_string() + " is closed: " + close_reason_);
}

void Link::Impl::post(std::span<const std::byte> message) {
  if (message.size() > message_bytes_max) {
    throw Error("a message to " + peer_.to_string() + " has " + std::to_string(message.size()) +
                " bytes, at most " + std::to_string(message_bytes_max) + " are allowed");
  }
  const std::lock_guard lock(mutex_);
  require_open();
  if (!mail_.post(message)) {
    throw Error(peer_.to_string() + " has not acknowledged 16 MiB of messages; " +
                state_of_streams());
  }
  if (!open_.empty()) open_.begin()->second.stream->wake();
}

Transfer Link::Impl::send(std::uint64_t id, std::span<const std::byte> memory, Deadline deadline,
                          const SendOptions& options) {
  const auto transfer = std::make_shared<detail::Outgoing>(id, memory, options, deadline);
  const std::weak_ptr<detail::Outgoing> weak_transfer = transfer;
  transfer->on_cancel = [link = weak_from_this(), weak_transfer] {
    const auto self = link.lock();
    const auto cancelled = weak_transfer.lock();
    if (!self || !cancelled) return;
    const std::lock_guard lock(self->mutex_);
    self->give_up(cancelled, "cancelled by " + self->services_.self.to_string());
  };
  transfer->on_release = [link = weak_from_this()] {
    const auto self = link.lock();
    if (!self) return;
    const std::lock_guard lock(self->mutex_);
    self->wake_all();
  };
  const std::lock_guard lock(mutex_);
  require_open();
  if (const auto refusal = sends_.add(transfer)) {
    tell(detail::FrameType::refuse, refusal->grant, refusal->reason);
  }
  wake_all();
  return Transfer(transfer);
}

Transfer Link::Impl::receive(std::uint64_t id, std::span<std::byte> memory, Deadline deadline) {
  const std::lock_guard lock(mutex_);
  require_open();
  const auto transfer =
      std::make_shared<detail::Incoming>(id, memory, options_.chunk_bytes, deadline);
  const auto number = receives_.add(transfer);
  transfer->on_cancel = [link = weak_from_this(), number] {
    const auto self = link.lock();
    if (!self) return;
    const std::lock_guard guard(self->mutex_);
    self->give_up(number, "cancelled by " + self->services_.self.to_string());
  };
  grant(number, *transfer);
  wake_all();
  return Transfer(transfer);
}

void Link::Impl::give_up(const std::shared_ptr<detail::Outgoing>& transfer,
                         const std::string& why) {
  const auto refusal = sends_.remove(transfer, why);
  transfer->fail("sending transfer " + std::to_string(transfer->id()) + " to " + peer_.to_string() +
                 ": " + why);
  if (refusal) tell(detail::FrameType::refuse, refusal->grant, why);
}

void Link::Impl::give_up(std::uint64_t number, const std::string& why) {
  const auto transfer = receives_.find(number);
  if (!transfer) return;
  receives_.give_up(number, why);
  transfer->fail("receiving transfer " + std::to_string(transfer->id()) + " from " +
                 peer_.to_string() + ": " + why);
  tell(detail::FrameType::gone, number, why);
}

void Link::Impl::fail_all(const std::string& why) {
  for (const auto& transfer : sends_.all()) {
    transfer->fail("sending transfer " + std::to_string(transfer->id()) + " to " +
                   peer_.to_string() + ": " + why);
  }
  for (const auto& [number, transfer] : receives_.live()) {
    transfer->fail("receiving transfer " + std::to_string(transfer->id()) + " from " +
                   peer_.to_string() + ": " + why);
  }
  sends_.clear();
  receives_.clear();
  mail_.clear();
  pending_.clear();
}

bool Link::Impl::wait_connected(Deadline deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [this] { return closed_ || !open_.empty(); });
  require_open();
  return !open_.empty();
}

bool Link::Impl::wait_closed(Deadline deadline) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return open_.empty(); });
}

int Link::Impl::streams() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(open_.size());
}

LinkTraffic Link::Impl::traffic() const {
  const std::lock_guard lock(mutex_);
  return {payload_sent_,  payload_received_, wire_sent_,
          wire_received_, tcp_.acknowledged, tcp_.busy_us};
}

void Link::Impl::close(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  closed_ = true;
  close_reason_ = reason;
  fail_all("this end closed the link: " + reason);
  wake_all();  // to say goodbye
  changed_.notify_all();
}

bool Link::Impl::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void Link::Impl::drop() {
  std::map<std::uint64_t, Open> streams;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  streams.swap(open_);
  changed_.notify_all();
}

}  // namespace train::wide

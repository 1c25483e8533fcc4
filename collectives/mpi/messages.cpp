#include "collectives/mpi/messages.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/mpi/requests.hpp"
#include "collectives/mpi/tags.hpp"
#include "collectives/ordered/fault.hpp"

namespace train::mpi {

/// One side of a message. Waited for by its caller, perhaps polled by others: hence the lock.
class Message : public Work::State {
 public:
  Message(std::shared_ptr<Channel> channel, std::string text, int peer, Deadline deadline)
      : channel_(std::move(channel)), text_(std::move(text)), peer_(peer), deadline_(deadline) {}

  bool wait_until(Deadline until) override {
    if (done_or_throw()) return true;
    try {
      const auto done = channel_->wait([this] { return progress(); }, std::min(until, deadline_));
      if (done) return true;
      if (until < deadline_) return false;
      const std::chrono::duration<double> elapsed = Clock::now() - called_;
      throw Error(
          fmt::format("{} in group '{}' stalled on rank {}: rank {} did not do its part "
                      "within {:.2f} s",
                      text_, channel_->who().group, channel_->who().rank, peer_, elapsed.count()));
    } catch (const Error&) {
      end_with(detail::current_fault());
      throw;
    }
  }

  /// Unless it is done or failed already.
  void end_with(const detail::Fault& fault) {
    std::lock_guard lock(mutex_);
    if (done_ || fault_) return;
    fault_ = fault;
    cancel();
  }

  bool ended() {
    std::lock_guard lock(mutex_);
    return done_ || fault_;
  }

 protected:
  /// Under the lock: true when nothing is left to do.
  virtual bool step() = 0;
  virtual void cancel() = 0;

  const Channel& channel() const { return *channel_; }
  const std::string& text() const { return text_; }
  int peer() const { return peer_; }

 private:
  bool done_or_throw() {
    std::lock_guard lock(mutex_);
    if (fault_) fault_->raise();
    return done_;
  }

  bool progress() {
    std::lock_guard lock(mutex_);
    if (fault_) fault_->raise();
    if (!done_) done_ = step();
    return done_;
  }

  std::shared_ptr<Channel> channel_;
  std::string text_;
  int peer_;
  Clock::time_point called_ = Clock::now();
  Deadline deadline_;
  std::mutex mutex_;
  bool done_ = false;
  std::optional<detail::Fault> fault_;
};

namespace {

struct Header {
  std::uint64_t count = 0;
  DataType type = DataType::u8;
};

std::string describe(const char* call, ConstBuffer buffer, int tag, const char* way, int peer) {
  return fmt::format("{}({}, count {}, tag {}) {} rank {}", call, name_of(buffer.type),
                     buffer.count, tag, way, peer);
}

class SendMessage final : public Message {
 public:
  SendMessage(const std::shared_ptr<Channel>& channel, ConstBuffer buffer, int peer, int tag,
              Deadline deadline)
      : Message(channel, describe("send", buffer, tag, "to", peer), peer, deadline),
        header_{buffer.count, buffer.type} {
    requests_.send(channel->messages(), &header_, sizeof(Header), peer, tag);
    if (buffer.count > 0) {
      requests_.send(channel->messages(), buffer.data, buffer.bytes(), peer,
                     payload_tag(tag, buffer.bytes()));
    }
  }

 private:
  bool step() override { return requests_.test_all(); }
  void cancel() override { requests_.cancel(); }

  Header header_;
  Requests requests_;
};

class ReceiveMessage final : public Message {
 public:
  ReceiveMessage(const std::shared_ptr<Channel>& channel, Buffer buffer, int peer, int tag,
                 Deadline deadline)
      : Message(channel, describe("receive", buffer, tag, "from", peer), peer, deadline),
        buffer_(buffer) {
    header_request_.receive(channel->messages(), &header_, sizeof(Header), peer, tag);
    if (buffer.count > 0) {
      payload_.receive(channel->messages(), buffer.data, buffer.bytes(), peer,
                       payload_tag(tag, buffer.bytes()));
    }
  }

 private:
  bool step() override {
    if (!header_request_.test_all()) return false;
    // Compared before the payload is looked at: one of another size never comes.
    if (header_.type != buffer_.type || header_.count != buffer_.count) {
      throw Error(fmt::format("{} on rank {} of group '{}' got send({}, count {}) on rank {}",
                              text(), channel().who().rank, channel().who().group,
                              name_of(header_.type), header_.count, peer()));
    }
    return payload_.test_all();
  }

  void cancel() override {
    header_request_.cancel();
    payload_.cancel();
  }

  Buffer buffer_;
  Header header_;
  Requests header_request_;
  Requests payload_;
};

}  // namespace

std::shared_ptr<Work::State> Messages::send(ConstBuffer buffer, int peer, int tag,
                                            Deadline deadline) {
  std::lock_guard lock(mutex_);
  return keep(std::make_shared<SendMessage>(channel_, buffer, peer, tag, deadline));
}

std::shared_ptr<Work::State> Messages::receive(Buffer buffer, int peer, int tag,
                                               Deadline deadline) {
  std::lock_guard lock(mutex_);
  return keep(std::make_shared<ReceiveMessage>(channel_, buffer, peer, tag, deadline));
}

std::shared_ptr<Work::State> Messages::keep(std::shared_ptr<Message> message) {
  std::erase_if(under_way_, [](const auto& each) { return each->ended(); });
  under_way_.push_back(message);
  return message;
}

void Messages::drain() noexcept {
  std::lock_guard lock(mutex_);
  for (const auto& message : under_way_) {
    try {
      static_cast<void>(message->wait_until(Deadline::max()));
    } catch (const std::exception&) {
      // Whoever holds the message's Work hears of it there.
    }
  }
  under_way_.clear();
}

void Messages::fail(const detail::Fault& why) noexcept {
  std::lock_guard lock(mutex_);
  for (const auto& message : under_way_) message->end_with(why);
}

}  // namespace train::mpi

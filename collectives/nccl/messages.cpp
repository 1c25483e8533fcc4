#include "collectives/nccl/messages.hpp"

#include <utility>

#include "collectives/error.hpp"
#include "collectives/nccl/check.hpp"

namespace train::nccl {

class ReceivedMessage : public Work::State {
 public:
  ReceivedMessage(std::shared_ptr<Gpu> gpu, Buffer target)
      : gpu_(std::move(gpu)), target_(target), bytes_(target.bytes()) {}

  Buffer on_host() { return {bytes_.data(), target_.count, target_.type}; }
  void carried_by(std::shared_ptr<Work::State> message) { message_ = std::move(message); }

  bool wait_until(Deadline deadline) override {
    if (!message_->wait_until(deadline)) return false;
    std::lock_guard lock(mutex_);
    if (!copied_) {
      gpu_->use();
      check(cudaMemcpyAsync(target_.data, bytes_.data(), bytes_.size(), cudaMemcpyHostToDevice,
                            gpu_->compute()),
            "cudaMemcpyAsync");
      copied_ = true;
    }
    return true;
  }

  bool ended() {
    std::lock_guard lock(mutex_);
    return copied_;
  }

 private:
  std::shared_ptr<Gpu> gpu_;
  Buffer target_;
  std::vector<std::byte> bytes_;
  std::shared_ptr<Work::State> message_;
  std::mutex mutex_;
  bool copied_ = false;
};

namespace {

class SentMessage : public Work::State {
 public:
  SentMessage(Gpu& gpu, ConstBuffer buffer) : buffer_(buffer), bytes_(buffer.bytes()) {
    gpu.use();
    check(cudaMemcpyAsync(bytes_.data(), buffer.data, bytes_.size(), cudaMemcpyDeviceToHost,
                          gpu.compute()),
          "cudaMemcpyAsync");
    check(cudaStreamSynchronize(gpu.compute()), "cudaStreamSynchronize");
    // What came meanwhile may be what a collective that was ended had left.
    gpu.lost().raise_if_set();
  }

  ConstBuffer on_host() const { return {bytes_.data(), buffer_.count, buffer_.type}; }
  void carried_by(std::shared_ptr<Work::State> message) { message_ = std::move(message); }
  bool wait_until(Deadline deadline) override { return message_->wait_until(deadline); }

 private:
  ConstBuffer buffer_;
  std::vector<std::byte> bytes_;
  std::shared_ptr<Work::State> message_;
};

}  // namespace

std::shared_ptr<Work::State> Messages::send(detail::Transport& host, ConstBuffer buffer, int peer,
                                            int tag, Deadline deadline) {
  auto message = std::make_shared<SentMessage>(*gpu_, buffer);
  message->carried_by(host.send(message->on_host(), peer, tag, deadline));
  return message;
}

std::shared_ptr<Work::State> Messages::receive(detail::Transport& host, Buffer buffer, int peer,
                                               int tag, Deadline deadline) {
  auto message = std::make_shared<ReceivedMessage>(gpu_, buffer);
  message->carried_by(host.receive(message->on_host(), peer, tag, deadline));
  std::lock_guard lock(mutex_);
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

}  // namespace train::nccl

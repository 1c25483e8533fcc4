#include "collectives/nccl/messages.hpp"

#include <utility>

#include <fmt/format.h>

#include "collectives/cuda/poll.hpp"
#include "collectives/error.hpp"
#include "collectives/nccl/check.hpp"

namespace train::nccl {

class ReceivedMessage : public Work::State {
 public:
  ReceivedMessage(std::shared_ptr<Gpu> gpu, Buffer target)
      : gpu_(std::move(gpu)), target_(target), bytes_(target.bytes()) {}
  ~ReceivedMessage() override {
    // A copy may read the bytes until the stream has come to it; for ever, where the GPU hangs.
    if (copied_ && !gpu_->passes(copied_.get())) {
      static_cast<void>(new std::vector<std::byte>(std::move(bytes_)));
    }
    gpu_->give_back(std::move(copied_));
  }

  Buffer on_host() { return {bytes_.data(), target_.count, target_.type}; }
  void carried_by(std::shared_ptr<Work::State> message) { message_ = std::move(message); }

  bool wait_until(Deadline deadline) override {
    if (!message_->wait_until(deadline)) return false;
    std::lock_guard lock(mutex_);
    if (!copied_) {
      auto event = gpu_->take_event();
      gpu_->use();
      check(cudaMemcpyAsync(target_.data, bytes_.data(), bytes_.size(), cudaMemcpyHostToDevice,
                            gpu_->compute()),
            "cudaMemcpyAsync");
      copied_ = std::move(event);
      check(cudaEventRecord(copied_.get(), gpu_->compute()), "cudaEventRecord");
    }
    return true;
  }

  /// The bytes have reached the device.
  bool ended() {
    std::lock_guard lock(mutex_);
    return copied_ && poll_until(Clock::now(), [this] { return cudaEventQuery(copied_.get()); }) ==
                          cudaSuccess;
  }

 private:
  std::shared_ptr<Gpu> gpu_;
  Buffer target_;
  std::vector<std::byte> bytes_;
  std::shared_ptr<Work::State> message_;
  std::mutex mutex_;
  EventHandle copied_;  // passed when the copy is done; none before it was given to the stream
};

namespace {

class SentMessage : public Work::State {
 public:
  explicit SentMessage(ConstBuffer buffer) : buffer_(buffer), bytes_(buffer.bytes()) {}

  /// Once the compute stream has come to it. A copy to pageable memory waits for its stream,
  /// whatever the deadline; so it goes through `copies`, which holds nothing else.
  void copy(Gpu& gpu, cudaStream_t copies, const detail::Membership& who, Deadline deadline) {
    auto called = gpu.take_event();
    check(cudaEventRecord(called.get(), gpu.compute()), "cudaEventRecord");
    const auto status = poll_until(deadline, [&] { return cudaEventQuery(called.get()); });
    gpu.give_back(std::move(called));
    if (status == cudaErrorNotReady) {
      throw Error(
          fmt::format("send of {} bytes on rank {} of group '{}' did not begin before its "
                      "deadline: work that the GPU's compute stream holds hangs or takes longer",
                      bytes_.size(), who.rank, who.group));
    }
    check(status, "cudaEventQuery");
    // What came meanwhile may be what a collective that was ended had left.
    gpu.lost().raise_if_set();
    check(
        cudaMemcpyAsync(bytes_.data(), buffer_.data, bytes_.size(), cudaMemcpyDeviceToHost, copies),
        "cudaMemcpyAsync");
    check(cudaStreamSynchronize(copies), "cudaStreamSynchronize");
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

cudaStream_t Messages::copies() {
  std::lock_guard lock(mutex_);
  if (!copies_) copies_ = gpu_->make_stream();
  return copies_.get();
}

std::shared_ptr<Work::State> Messages::send(detail::Transport& host, ConstBuffer buffer, int peer,
                                            int tag, Deadline deadline) {
  auto message = std::make_shared<SentMessage>(buffer);
  const auto stream = copies();
  gpu_->use();
  message->copy(*gpu_, stream, host.who(), deadline);
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

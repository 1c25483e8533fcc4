#include "tests/support/nccl_ranks.hpp"

#include <mutex>
#include <utility>
#include <vector>

#include <cuda_runtime.h>

#include "tests/support/cuda/device_copy.hpp"

namespace train {
namespace {

struct StreamTraits {
  using Handle = cudaStream_t;
  static Handle empty() { return nullptr; }
  static void close(Handle stream) noexcept { cudaStreamDestroy(stream); }
};

/// A rank's GPU and its compute stream.
class Gpu {
 public:
  explicit Gpu(int device) : device_(device) {
    use();
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
               "cudaStreamCreateWithFlags");
    stream_.reset(stream);
  }

  void use() const { check_cuda(cudaSetDevice(device_), "cudaSetDevice"); }
  int device() const { return device_; }
  cudaStream_t stream() const { return stream_.get(); }

 private:
  int device_;
  UniqueHandle<StreamTraits> stream_;
};

/// Brings what a call received back to the host when it is waited for.
class CopiedWork : public Work::State {
 public:
  CopiedWork(std::shared_ptr<Gpu> gpu, std::unique_ptr<DeviceCopy> copy, Work work)
      : gpu_(std::move(gpu)), copy_(std::move(copy)), work_(std::move(work)) {}
  ~CopiedWork() override { free(); }

  bool wait_until(Deadline deadline) override {
    const bool done =
        deadline == Deadline::max() ? (work_.wait(), true) : work_.wait_until(deadline);
    std::lock_guard lock(mutex_);
    if (done && copy_) {
      gpu_->use();
      copy_->download();
      free();
    }
    return done;
  }
  bool ended() {
    std::lock_guard lock(mutex_);
    return !copy_;
  }

 private:
  void free() {
    static_cast<void>(cudaSetDevice(gpu_->device()));
    copy_.reset();
  }

  std::shared_ptr<Gpu> gpu_;
  std::mutex mutex_;
  std::unique_ptr<DeviceCopy> copy_;
  Work work_;
};

/// A barrier's end means that of the calls before it, whether anyone waits for them or not.
class CopiedBarrier : public Work::State {
 public:
  CopiedBarrier(Work work, std::vector<std::shared_ptr<CopiedWork>> before)
      : work_(std::move(work)), before_(std::move(before)) {}

  bool wait_until(Deadline deadline) override {
    if (!work_.wait_until(deadline)) return false;
    for (const auto& work : before_) static_cast<void>(work->wait_until(deadline));
    return true;
  }

 private:
  Work work_;
  std::vector<std::shared_ptr<CopiedWork>> before_;
};

class GpuRanks final : public Communicator {
 public:
  GpuRanks(std::shared_ptr<Gpu> gpu, std::unique_ptr<Communicator> ranks)
      : gpu_(std::move(gpu)), ranks_(std::move(ranks)) {}

  int rank() const override { return ranks_->rank(); }
  int size() const override { return ranks_->size(); }
  const std::string& name() const override { return ranks_->name(); }

  Work all_reduce(ConstBuffer send, Buffer receive, ReduceOp op) override {
    return on_device(send, receive,
                     [&](ConstBuffer from, Buffer to) { return ranks_->all_reduce(from, to, op); });
  }
  Work reduce_scatter(ConstBuffer send, Buffer receive, std::span<const std::size_t> counts,
                      ReduceOp op) override {
    return on_device(send, receive, [&](ConstBuffer from, Buffer to) {
      return ranks_->reduce_scatter(from, to, counts, op);
    });
  }
  Work all_gather(ConstBuffer send, Buffer receive, std::span<const std::size_t> counts) override {
    return on_device(send, receive, [&](ConstBuffer from, Buffer to) {
      return ranks_->all_gather(from, to, counts);
    });
  }
  Work broadcast(Buffer buffer, int root) override {
    return on_device(buffer, buffer,
                     [&](ConstBuffer, Buffer to) { return ranks_->broadcast(to, root); });
  }
  Work all_to_all(ConstBuffer send, std::span<const std::size_t> send_counts, Buffer receive,
                  std::span<const std::size_t> receive_counts) override {
    return on_device(send, receive, [&](ConstBuffer from, Buffer to) {
      return ranks_->all_to_all(from, send_counts, to, receive_counts);
    });
  }
  Work send(ConstBuffer buffer, int peer, int tag) override {
    return on_device(buffer, {},
                     [&](ConstBuffer from, Buffer) { return ranks_->send(from, peer, tag); });
  }
  Work receive(Buffer buffer, int peer, int tag) override {
    return on_device({}, buffer,
                     [&](ConstBuffer, Buffer to) { return ranks_->receive(to, peer, tag); });
  }
  Work barrier() override {
    std::vector<std::shared_ptr<CopiedWork>> before;
    {
      std::lock_guard lock(mutex_);
      before = collectives_;
    }
    return Work(std::make_shared<CopiedBarrier>(ranks_->barrier(), std::move(before)));
  }
  std::unique_ptr<Communicator> split(int color, int key, std::string name) override {
    auto part = ranks_->split(color, key, std::move(name));
    return part ? std::make_unique<GpuRanks>(gpu_, std::move(part)) : nullptr;
  }
  void set_timeout(std::chrono::milliseconds timeout) override { ranks_->set_timeout(timeout); }
  Traffic traffic() const override { return ranks_->traffic(); }
  void observe(std::function<void(const CallRecord&)> observer) override {
    ranks_->observe(std::move(observer));
  }

 private:
  Work on_device(ConstBuffer send, Buffer receive,
                 const std::function<Work(ConstBuffer, Buffer)>& call) {
    gpu_->use();
    auto copy = std::make_unique<DeviceCopy>(send, receive, gpu_->stream());
    auto work = call(copy->send(), copy->receive());
    auto state = std::make_shared<CopiedWork>(gpu_, std::move(copy), std::move(work));
    std::lock_guard lock(mutex_);
    std::erase_if(collectives_, [](const auto& each) { return each->ended(); });
    if (send.count > 0 && receive.count > 0) collectives_.push_back(state);
    return Work(std::move(state));
  }

  std::shared_ptr<Gpu> gpu_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<CopiedWork>> collectives_;
  // First to go: calls under way use the memory of the works.
  std::unique_ptr<Communicator> ranks_;
};

}  // namespace

int gpu_count() {
  int count = 0;
  check_cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  return count;
}

std::unique_ptr<Communicator> make_gpu_ranks(Communicator& host, int device, nccl::Sums sums) {
  auto gpu = std::make_shared<Gpu>(device);
  auto ranks = nccl::make_communicator(
      host, {.device = device, .compute_stream = gpu->stream(), .sums = sums});
  return std::make_unique<GpuRanks>(std::move(gpu), std::move(ranks));
}

}  // namespace train

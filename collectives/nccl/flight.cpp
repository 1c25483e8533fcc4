#include "collectives/nccl/flight.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/nccl/check.hpp"

namespace train::nccl {
namespace {

// Between two looks of a host that waits for the GPU.
constexpr std::chrono::microseconds look_interval{50};

}  // namespace

Flight::Flight(std::shared_ptr<Gpu> gpu)
    : gpu_(std::move(gpu)),
      called_(gpu_->take_event()),
      begun_(gpu_->take_event()),
      ended_(gpu_->take_event()) {
  gpu_->use();
  check(cudaEventRecord(called_.get(), gpu_->compute()), "cudaEventRecord");
}

Flight::~Flight() {
  gpu_->give_back(std::move(called_));
  gpu_->give_back(std::move(begun_));
  gpu_->give_back(std::move(ended_));
}

void Flight::depart(cudaStream_t stream, const detail::Operation& operation) {
  text_ = describe(arrival_of(operation).signature);
  sequence_ = operation.sequence;
  time_called_ = operation.called;
  deadline_ = operation.deadline;
  check(cudaStreamWaitEvent(stream, called_.get(), 0), "cudaStreamWaitEvent");
  check(cudaEventRecord(begun_.get(), stream), "cudaEventRecord");
}

void Flight::launched(cudaStream_t stream, std::uint64_t bytes_sent) {
  check(cudaEventRecord(ended_.get(), stream), "cudaEventRecord");
  std::lock_guard lock(mutex_);
  bytes_sent_ = bytes_sent;
  status_ = Status::launched;
}

bool Flight::wait_until(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (deadline == Deadline::max() && !waits_on_host) {
    if (status_ == Status::failed) fault_.raise();
    gpu_->use();
    check(cudaStreamWaitEvent(gpu_->compute(), ended_.get(), 0), "cudaStreamWaitEvent");
    return true;
  }
  // Whoever watches the group fails it at its deadline.
  while (true) {
    look();
    if (status_ == Status::failed) fault_.raise();
    if (status_ == Status::landed) return true;
    const auto now = Clock::now();
    if (now >= deadline) return false;
    changed_.wait_until(lock, std::min(deadline, now + look_interval));
  }
}

bool Flight::poll() {
  std::lock_guard lock(mutex_);
  look();
  return status_ == Status::landed || status_ == Status::failed;
}

void Flight::look() {
  if (status_ != Status::launched) return;
  gpu_->use();  // else a thread of the host's own would open the first GPU as well
  const auto state = cudaEventQuery(ended_.get());
  if (state == cudaErrorNotReady) {
    cudaGetLastError();  // which keeps even this for whoever looks next
    return;
  }
  check(state, "cudaEventQuery");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begun_.get(), ended_.get()), "cudaEventElapsedTime");
  const auto ended = Clock::now();
  const std::chrono::duration<double, std::milli> took{milliseconds};
  if (on_landing) {
    on_landing({ended - std::chrono::duration_cast<Clock::duration>(took), ended, bytes_sent_});
  }
  on_landing = {};
  status_ = Status::landed;
  changed_.notify_all();
}

void Flight::fail(const detail::Fault& fault) {
  std::lock_guard lock(mutex_);
  if (status_ == Status::landed || status_ == Status::failed) return;
  fault_ = fault;
  on_landing = {};
  status_ = Status::failed;
  changed_.notify_all();
}

std::string Flight::describe_stall(const detail::Membership& who) const {
  const std::chrono::duration<double> elapsed = Clock::now() - time_called_;
  const bool begun = cudaEventQuery(begun_.get()) == cudaSuccess;
  cudaGetLastError();
  return fmt::format(
      "{} in group '{}' (sequence {}) stalled on rank {} of {} while data moved between GPUs: it "
      "did not end within {:.2f} s. {}",
      text_, who.group, sequence_, who.rank, who.size, elapsed.count(),
      begun ? "All ranks have called it and this rank's GPU takes part: look for the rank whose "
              "GPU does not"
            : "This rank's GPU has not come to it: work that its compute stream holds hangs or "
              "takes longer than the deadline");
}

}  // namespace train::nccl

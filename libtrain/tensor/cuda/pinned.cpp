#include "libtrain/tensor/cuda/pinned.hpp"

#include <algorithm>
#include <cstring>

#include "libtrain/tensor/cuda/check.hpp"

namespace train::cuda {
namespace {

// Large enough that the 10 µs of starting a copy vanish beside the 100 µs that it takes.
constexpr std::size_t part_bytes = std::size_t{4} << 20;

}  // namespace

PinnedBlock::PinnedBlock(std::size_t bytes) : bytes_(bytes) {
  void* block = nullptr;
  check(cudaHostAlloc(&block, bytes, cudaHostAllocPortable), "cudaHostAlloc");
  block_.reset(block);
}

Staging::Part::Part(const Stream& stream) : block(part_bytes), free(stream) {}

Staging::Lane::Lane(const Stream& stream) : parts{Part(stream), Part(stream)} {}

Staging::Part& Staging::Lane::take() {
  Part& part = parts[next];
  next = 1 - next;
  part.free.wait();
  return part;
}

Staging::Staging(const Stream& stream)
    : stream_((stream.use(), stream)), up_(stream), down_(stream) {}

void Staging::upload(void* device, const void* host, std::size_t bytes) {
  std::lock_guard lock(up_.mutex);
  stream_.use();
  for (std::size_t done = 0; done < bytes; done += part_bytes) {
    const std::size_t count = std::min(part_bytes, bytes - done);
    Part& part = up_.take();
    std::memcpy(part.block.data(), static_cast<const std::byte*>(host) + done, count);
    check(cudaMemcpyAsync(static_cast<std::byte*>(device) + done, part.block.data(), count,
                          cudaMemcpyHostToDevice, stream_.get()),
          "cudaMemcpyAsync to the device");
    part.free.record(stream_);
  }
}

void Staging::download(void* host, const void* device, std::size_t bytes) {
  std::lock_guard lock(down_.mutex);
  stream_.use();
  const auto start = [&](std::size_t begin) {
    Part& part = down_.parts[begin / part_bytes % 2];
    check(
        cudaMemcpyAsync(part.block.data(), static_cast<const std::byte*>(device) + begin,
                        std::min(part_bytes, bytes - begin), cudaMemcpyDeviceToHost, stream_.get()),
        "cudaMemcpyAsync to the host");
    part.free.record(stream_);
  };
  if (bytes > 0) start(0);
  for (std::size_t done = 0; done < bytes; done += part_bytes) {
    if (done + part_bytes < bytes) start(done + part_bytes);
    const Part& part = down_.parts[done / part_bytes % 2];
    part.free.wait();
    std::memcpy(static_cast<std::byte*>(host) + done, part.block.data(),
                std::min(part_bytes, bytes - done));
  }
}

}  // namespace train::cuda

#include "libtrain/tensor/cuda/pinned.hpp"

#include <algorithm>
#include <cstring>

#include "libtrain/tensor/cuda/check.hpp"

namespace train::cuda {
namespace {

// Large enough that the 10 µs of starting a copy are little beside the copy itself; a micro-batch's
// tokens fit in one.
constexpr std::size_t up_bytes = std::size_t{1} << 20;
constexpr std::size_t up_parts = 16;
constexpr std::size_t down_bytes = std::size_t{4} << 20;
constexpr std::size_t down_parts = 2;

}  // namespace

PinnedBlock::PinnedBlock(std::size_t bytes) {
  void* block = nullptr;
  check(cudaHostAlloc(&block, bytes, cudaHostAllocPortable), "cudaHostAlloc");
  block_.reset(block);
}

Staging::Lane::Lane(const Stream& stream, std::size_t count, std::size_t bytes)
    : part_bytes(bytes) {
  stream.use();
  parts.reserve(count);
  for (std::size_t i = 0; i < count; ++i) parts.emplace_back(stream, bytes);
}

Staging::Staging(const Stream& stream)
    : stream_(stream),
      down_stream_(stream.device()),
      up_(stream, up_parts, up_bytes),
      down_(stream, down_parts, down_bytes) {}

void Staging::upload(void* device, const void* host, std::size_t bytes) {
  std::lock_guard lock(up_.mutex);
  stream_.use();
  for (std::size_t done = 0; done < bytes; done += up_.part_bytes) {
    const std::size_t count = std::min(up_.part_bytes, bytes - done);
    Part& part = up_.parts[up_.next];
    up_.next = (up_.next + 1) % up_.parts.size();
    part.free.wait();
    std::memcpy(part.block.data(), static_cast<const std::byte*>(host) + done, count);
    check(cudaMemcpyAsync(static_cast<std::byte*>(device) + done, part.block.data(), count,
                          cudaMemcpyHostToDevice, stream_.get()),
          "cudaMemcpyAsync to the device");
    part.free.record(stream_);
  }
}

void Staging::download(void* host, const void* device, std::size_t bytes) {
  std::lock_guard lock(down_.mutex);
  down_stream_.use();
  const std::size_t part_bytes = down_.part_bytes;
  const auto start = [&](std::size_t begin) {
    Part& part = down_.parts[begin / part_bytes % down_parts];
    check(cudaMemcpyAsync(part.block.data(), static_cast<const std::byte*>(device) + begin,
                          std::min(part_bytes, bytes - begin), cudaMemcpyDeviceToHost,
                          down_stream_.get()),
          "cudaMemcpyAsync to the host");
    part.free.record(down_stream_);
  };
  if (bytes > 0) start(0);
  for (std::size_t done = 0; done < bytes; done += part_bytes) {
    if (done + part_bytes < bytes) start(done + part_bytes);
    const Part& part = down_.parts[done / part_bytes % down_parts];
    part.free.wait();
    std::memcpy(static_cast<std::byte*>(host) + done, part.block.data(),
                std::min(part_bytes, bytes - done));
  }
}

}  // namespace train::cuda

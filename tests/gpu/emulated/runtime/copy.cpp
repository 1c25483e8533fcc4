#include <cstring>
#include <memory>

#include "tests/gpu/emulated/runtime/device.hpp"
#include "tests/gpu/emulated/runtime/memory.hpp"
#include "tests/gpu/emulated/runtime/queue.hpp"
#include "tests/gpu/emulated/runtime/stream.hpp"

namespace {

// Device memory that a copy names must be one block's; what the host names must not be a device's.
bool copy_makes_sense(const void* address, std::size_t bytes, bool on_device) {
  if (bytes == 0) return true;
  if (!on_device) return !emulated::is_device_memory(address);
  return emulated::in_block(address, bytes);
}

}  // namespace

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  emulated::memory_info(emulated::current_device(), free, total);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  *block = bytes == 0 ? nullptr : emulated::allocate(emulated::current_device(), bytes);
  return emulated::report(*block == nullptr && bytes > 0 ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaFree(void* block) {
  if (block == nullptr) return cudaSuccess;
  cudaDeviceSynchronize();
  return emulated::report(emulated::release(block) ? cudaSuccess : cudaErrorInvalidValue);
}

// The block is there at once, which a stream's order allows; it goes in the stream's order.
cudaError_t cudaMallocAsync(void** block, std::size_t bytes, cudaStream_t stream) {
  if (stream == nullptr) return emulated::report(cudaErrorInvalidResourceHandle);
  return cudaMalloc(block, bytes);
}

cudaError_t cudaFreeAsync(void* block, cudaStream_t stream) {
  if (block == nullptr) return cudaSuccess;
  if (!emulated::in_block(block, 1)) return emulated::report(cudaErrorInvalidValue);
  const bool taken = emulated::enqueue(stream, [block] { emulated::release(block); });
  return emulated::report(taken ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaHostAlloc(void** block, std::size_t bytes, unsigned) {
  emulated::current_device();
  *block = emulated::allocate_pinned(bytes);
  return emulated::report(*block == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaMallocHost(void** block, std::size_t bytes) {
  return cudaHostAlloc(block, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void* block) {
  emulated::current_device();
  if (block == nullptr) return cudaSuccess;
  cudaDeviceSynchronize();
  return emulated::report(emulated::release_pinned(block) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemcpy(void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind) {
  static thread_local std::unique_ptr<CUstream_st> streams_of_thread[emulated::device_count];
  auto& stream = streams_of_thread[emulated::current_device()];
  if (!stream) stream = std::make_unique<CUstream_st>(emulated::current_device());
  const cudaError_t status = cudaMemcpyAsync(target, source, bytes, kind, stream.get());
  stream->wait();
  return status;
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(target, bytes, source, bytes, bytes, 1, kind, stream);
}

// As CUDA says of pageable host memory: the target is written when the call returns. Of a source it
// allows that it is read later, as GPUs do that read the host's own pages.
cudaError_t cudaMemcpy2DAsync(void* target, std::size_t target_pitch, const void* source,
                              std::size_t source_pitch, std::size_t width_bytes, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  const bool from_device = kind == cudaMemcpyDefault
                               ? emulated::is_device_memory(source)
                               : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool to_device = kind == cudaMemcpyDefault
                             ? emulated::is_device_memory(target)
                             : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  if (width_bytes == 0 || height == 0) return cudaSuccess;
  const std::size_t target_bytes = (height - 1) * target_pitch + width_bytes;
  const std::size_t source_bytes = (height - 1) * source_pitch + width_bytes;
  if (!copy_makes_sense(target, target_bytes, to_device) ||
      !copy_makes_sense(source, source_bytes, from_device)) {
    return emulated::report(cudaErrorInvalidValue);
  }
  const bool taken = emulated::enqueue(stream, [=] {
    for (std::size_t row = 0; row < height; ++row) {
      std::memmove(static_cast<std::byte*>(target) + row * target_pitch,
                   static_cast<const std::byte*>(source) + row * source_pitch, width_bytes);
    }
  });
  if (!taken) return emulated::report(cudaErrorInvalidResourceHandle);
  if (!to_device && !emulated::is_pinned(target, target_bytes)) stream->wait();
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* block, int value, std::size_t bytes, cudaStream_t stream) {
  if (!copy_makes_sense(block, bytes, true)) return emulated::report(cudaErrorInvalidValue);
  const bool taken = emulated::enqueue(stream, [=] { std::memset(block, value, bytes); });
  return emulated::report(taken ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

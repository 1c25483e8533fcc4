#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "collectives/unique_handle.hpp"
#include "libtrain/ops/cuda/cudnn/library.hpp"

namespace train::cuda::cudnn {

/// cuDNN does not take a graph, or has no kernel for it: not a failure, since there is another way.
class Refusal : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws unless `status` is success: Error where memory is short, which is no answer about a
/// graph, and Refusal, with `what` was tried, in all other cases.
void check(cudnnStatus_t status, std::string_view what);

struct DescriptorTraits {
  using Handle = cudnnBackendDescriptor_t;
  static Handle empty() { return nullptr; }
  static void close(Handle descriptor) noexcept { library()->destroy_descriptor(descriptor); }
};

/// One of cuDNN's descriptors, whose kind is its type. Needs library(). Calls that cuDNN does not
/// take throw Refusal.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);

  cudnnBackendDescriptor_t get() const { return handle_.get(); }

  void set(cudnnBackendAttributeName_t name, bool value);
  void set(cudnnBackendAttributeName_t name, std::int64_t value);
  void set(cudnnBackendAttributeName_t name, float value);
  void set(cudnnBackendAttributeName_t name, cudnnDataType_t value);
  void set(cudnnBackendAttributeName_t name, cudnnPointwiseMode_t value);
  void set(cudnnBackendAttributeName_t name, cudnnReduceTensorOp_t value);
  void set(cudnnBackendAttributeName_t name, cudnnBackendHeurMode_t value);
  void set(cudnnBackendAttributeName_t name, cudnnHandle_t value);
  void set(cudnnBackendAttributeName_t name, const Descriptor& value);
  void set(cudnnBackendAttributeName_t name, std::span<const std::int64_t> values);
  void set(cudnnBackendAttributeName_t name, std::span<const Descriptor> values);
  void set(cudnnBackendAttributeName_t name, std::span<void* const> addresses);
  void set(cudnnBackendAttributeName_t name, std::string_view text);
  void finalize();

  std::int64_t number(cudnnBackendAttributeName_t name) const;
  std::vector<cudnnBackendNumericalNote_t> notes(cudnnBackendAttributeName_t name) const;
  /// At most `count_max` descriptors of `type`, as this one holds them.
  std::vector<Descriptor> descriptors(cudnnBackendAttributeName_t name,
                                      cudnnBackendDescriptorType_t type,
                                      std::int64_t count_max) const;

 private:
  void put(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::size_t count,
           const void* values);

  UniqueHandle<DescriptorTraits> handle_;
};

}  // namespace train::cuda::cudnn

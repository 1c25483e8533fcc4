#include "libtrain/ops/cuda/cudnn/descriptor.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::cuda::cudnn {
namespace {

void check_about(cudnnStatus_t status, const char* what, int about) {
  if (status != CUDNN_STATUS_SUCCESS) check(status, fmt::format("{} {}", what, about));
}

}  // namespace

void check(cudnnStatus_t status, std::string_view what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const std::string said = fmt::format("{}: {}", what, library()->words(status));
  if (status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ||
      status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED) {
    throw Error(
        fmt::format("cuDNN finds no memory when it prepares attention ({}); lower "
                    "--micro-batch or --context, or use a smaller model",
                    said));
  }
  throw Refusal(said);
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t created = nullptr;
  check_about(library()->create_descriptor(type, &created), "creating a descriptor of type", type);
  handle_.reset(created);
}

void Descriptor::put(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     std::size_t count, const void* values) {
  check_about(library()->set_attribute(get(), name, type, static_cast<std::int64_t>(count), values),
              "setting attribute", name);
}

void Descriptor::set(cudnnBackendAttributeName_t name, bool value) {
  put(name, CUDNN_TYPE_BOOLEAN, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, std::int64_t value) {
  put(name, CUDNN_TYPE_INT64, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, float value) {
  put(name, CUDNN_TYPE_FLOAT, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
  put(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, cudnnPointwiseMode_t value) {
  put(name, CUDNN_TYPE_POINTWISE_MODE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, cudnnReduceTensorOp_t value) {
  put(name, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendHeurMode_t value) {
  put(name, CUDNN_TYPE_HEUR_MODE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, cudnnHandle_t value) {
  put(name, CUDNN_TYPE_HANDLE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  const cudnnBackendDescriptor_t raw = value.get();
  put(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
}
void Descriptor::set(cudnnBackendAttributeName_t name, std::span<const std::int64_t> values) {
  put(name, CUDNN_TYPE_INT64, values.size(), values.data());
}
void Descriptor::set(cudnnBackendAttributeName_t name, std::span<const Descriptor> values) {
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& value : values) raw.push_back(value.get());
  put(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, raw.size(), raw.data());
}
void Descriptor::set(cudnnBackendAttributeName_t name, std::span<void* const> addresses) {
  put(name, CUDNN_TYPE_VOID_PTR, addresses.size(), addresses.data());
}
void Descriptor::set(cudnnBackendAttributeName_t name, std::string_view text) {
  put(name, CUDNN_TYPE_CHAR, text.size(), text.data());
}

void Descriptor::finalize() {
  check_about(library()->finalize(get()), "finalizing", 0);
}

std::int64_t Descriptor::number(cudnnBackendAttributeName_t name) const {
  std::int64_t value = 0, count = 0;
  check_about(library()->get_attribute(get(), name, CUDNN_TYPE_INT64, 1, &count, &value),
              "reading attribute", name);
  return value;
}

std::vector<cudnnBackendNumericalNote_t> Descriptor::notes(cudnnBackendAttributeName_t name) const {
  std::vector<cudnnBackendNumericalNote_t> notes(CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  std::int64_t count = 0;
  check_about(
      library()->get_attribute(get(), name, CUDNN_TYPE_NUMERICAL_NOTE,
                               static_cast<std::int64_t>(notes.size()), &count, notes.data()),
      "reading attribute", name);
  notes.resize(static_cast<std::size_t>(count));
  return notes;
}

std::vector<Descriptor> Descriptor::descriptors(cudnnBackendAttributeName_t name,
                                                cudnnBackendDescriptorType_t type,
                                                std::int64_t count_max) const {
  std::vector<Descriptor> found;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < count_max; ++i) raw.push_back(found.emplace_back(type).get());
  std::int64_t count = 0;
  check_about(library()->get_attribute(get(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, count_max,
                                       &count, raw.data()),
              "reading attribute", name);
  found.erase(found.begin() + std::min(count, count_max), found.end());
  return found;
}

}  // namespace train::cuda::cudnn

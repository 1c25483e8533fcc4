#include "tests/gpu/emulated/cudnn/library.hpp"

#include <algorithm>
#include <cstdio>

#include "libtrain/ops/cuda/cudnn/library.hpp"
#include "tests/gpu/emulated/cudnn/graph.hpp"
#include "tests/gpu/emulated/runtime/fail.hpp"
#include "tests/gpu/emulated/runtime/memory.hpp"
#include "tests/gpu/emulated/runtime/stream.hpp"

// Advises two engines for a graph: first one with the note that its sums come in any order, and
// runs only the other; for a graph that asks for such sums the first alone. Refuses, more strictly
// than the library, addresses that are less aligned than tensors say.

using emulated::cudnn::Attribute;
using emulated::cudnn::Descriptor;
using emulated::cudnn::Shared;
using emulated::cudnn::Tensor;

struct cudnnContext {
  int device;
  cudaStream_t stream;
};

namespace {

Descriptor& opened(cudnnBackendDescriptor_t descriptor) {
  return **static_cast<Shared*>(descriptor);
}

std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE:
      return 8;
    default:
      return 4;
  }
}

template <typename Value>
void put(Descriptor& descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
         Value value) {
  Attribute attribute{.type = type, .count = 1, .bytes = {}, .descriptors = {}};
  attribute.bytes.resize(sizeof value);
  std::memcpy(attribute.bytes.data(), &value, sizeof value);
  descriptor.attributes[name] = std::move(attribute);
}

Shared configuration(const Shared& graph, cudnnBackendNumericalNote_t note) {
  auto engine = std::make_shared<Descriptor>();
  engine->type = CUDNN_BACKEND_ENGINE_DESCRIPTOR;
  engine->finalized = true;
  put(*engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, note);
  auto made = std::make_shared<Descriptor>();
  made->type = CUDNN_BACKEND_ENGINECFG_DESCRIPTOR;
  made->finalized = true;
  made->attributes[CUDNN_ATTR_ENGINECFG_ENGINE].descriptors = {engine};
  made->attributes[CUDNN_ATTR_OPERATIONGRAPH_OPS].descriptors = {graph};
  return made;
}

void finalize_heuristic(Descriptor& heuristic) {
  const Shared graph =
      heuristic.attributes.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH).descriptors.front();
  std::vector<Shared> results;
  if (emulated::cudnn::sums_in_any_order(*graph)) {
    if (emulated::cudnn::known(*graph) && emulated::cudnn::any_order) {
      results = {configuration(graph, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)};
    }
  } else if (emulated::cudnn::known(*graph)) {
    results = {configuration(graph, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC),
               configuration(graph, CUDNN_NUMERICAL_NOTE_TENSOR_CORE)};
  }
  heuristic.attributes[CUDNN_ATTR_ENGINEHEUR_RESULTS].descriptors = results;
}

const Descriptor& graph_of(const Descriptor& plan) {
  return plan.linked(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).linked(CUDNN_ATTR_OPERATIONGRAPH_OPS);
}

cudnnStatus_t finalize_plan(Descriptor& plan) {
  if (!plan.has(CUDNN_ATTR_EXECUTION_PLAN_HANDLE)) return CUDNN_STATUS_BAD_PARAM;
  const Descriptor& engine =
      plan.linked(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).linked(CUDNN_ATTR_ENGINECFG_ENGINE);
  if (!emulated::cudnn::sums_in_any_order(graph_of(plan)) &&
      engine.one<int>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE) == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) {
    emulated::fail("cuDNN: a plan of an engine whose sums come in any order");
  }
  put(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
      emulated::cudnn::workspace_bytes(graph_of(plan)));
  return CUDNN_STATUS_SUCCESS;
}

// What the call binds, or what is wrong with it.
cudnnStatus_t bind_all(const Descriptor& graph, const Descriptor& pack,
                       emulated::cudnn::Bindings& bindings) {
  const auto ids = pack.all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto addresses = pack.all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  if (ids.size() != addresses.size()) return CUDNN_STATUS_BAD_PARAM;
  for (const Tensor& tensor : emulated::cudnn::bound_tensors(graph)) {
    const auto found = std::find(ids.begin(), ids.end(), tensor.id);
    if (found == ids.end()) return CUDNN_STATUS_BAD_PARAM;
    void* address = addresses[static_cast<std::size_t>(found - ids.begin())];
    emulated::cudnn::Bound& bound = bindings[tensor.id];
    if (tensor.by_value) {
      if (emulated::is_device_memory(address)) return CUDNN_STATUS_BAD_PARAM;
      std::memcpy(&bound.number, address, sizeof bound.number);
    } else if (reinterpret_cast<std::uintptr_t>(address) %
                   static_cast<std::uintptr_t>(tensor.alignment) !=
               0) {
      return CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER;
    }
    bound.address = address;
  }
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

std::size_t cudnnGetVersion() {
  return 91900;
}

const char* cudnnGetErrorString(cudnnStatus_t) {
  return "an error of the emulated library";
}

void cudnnGetLastErrorString(char* message, std::size_t size) {
  std::snprintf(message, size, "no words");
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  int device = -1;
  if (cudaGetDevice(&device) != cudaSuccess) return CUDNN_STATUS_NOT_INITIALIZED;
  *handle = new cudnnContext{device, nullptr};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  cudaDeviceSynchronize();  // as the library's documentation says
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* descriptor) {
  auto made = std::make_shared<Descriptor>();
  made->type = type;
  *descriptor = new Shared(std::move(made));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete static_cast<Shared*>(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t count,
                                       const void* elements) {
  if (opened(descriptor).finalized) return CUDNN_STATUS_BAD_PARAM;
  Attribute attribute{
      .type = type, .count = static_cast<std::size_t>(count), .bytes = {}, .descriptors = {}};
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    const auto* raw = static_cast<const cudnnBackendDescriptor_t*>(elements);
    for (std::int64_t i = 0; i < count; ++i) {
      if (!opened(raw[i]).finalized) return CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED;
      attribute.descriptors.push_back(*static_cast<const Shared*>(raw[i]));
    }
  } else {
    const auto* bytes = static_cast<const std::byte*>(elements);
    attribute.bytes.assign(bytes, bytes + attribute.count * size_of(type));
  }
  opened(descriptor).attributes[name] = std::move(attribute);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t wanted,
                                       std::int64_t* count, void* elements) {
  const Descriptor& from = opened(descriptor);
  if (!from.finalized || !from.has(name)) return CUDNN_STATUS_BAD_PARAM;
  const Attribute& attribute = from.attributes.at(name);
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    *count = static_cast<std::int64_t>(attribute.descriptors.size());
    auto* raw = static_cast<cudnnBackendDescriptor_t*>(elements);
    for (std::int64_t i = 0; i < std::min(*count, wanted); ++i) {
      *static_cast<Shared*>(raw[i]) = attribute.descriptors[static_cast<std::size_t>(i)];
    }
    return CUDNN_STATUS_SUCCESS;
  }
  *count = static_cast<std::int64_t>(attribute.count);
  if (type != attribute.type || *count > wanted) return CUDNN_STATUS_BAD_PARAM;
  std::memcpy(elements, attribute.bytes.data(), attribute.bytes.size());
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  Descriptor& finished = opened(descriptor);
  finished.finalized = true;
  if (finished.type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) finalize_heuristic(finished);
  if (finished.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) return finalize_plan(finished);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  int device = -1;
  if (cudaGetDevice(&device) != cudaSuccess || device != handle->device) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  const Shared kept = *static_cast<Shared*>(plan);
  const auto bytes =
      static_cast<std::size_t>(kept->one<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
  void* workspace = opened(pack).one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  if (bytes > 0 && !emulated::in_block(workspace, bytes)) return CUDNN_STATUS_BAD_PARAM;
  emulated::cudnn::Bindings bindings;
  const cudnnStatus_t status = bind_all(graph_of(*kept), opened(pack), bindings);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  const bool taken = emulated::enqueue(handle->stream, [=] {
    if (bytes > 0) std::memset(workspace, 0xff, bytes);
    emulated::cudnn::run(graph_of(*kept), bindings);
  });
  return taken ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

namespace train::cuda::cudnn {

const Library* library() {
  static const Library table{cudnnGetVersion,
                             cudnnGetErrorString,
                             cudnnGetLastErrorString,
                             cudnnCreate,
                             cudnnDestroy,
                             cudnnSetStream,
                             cudnnBackendCreateDescriptor,
                             cudnnBackendDestroyDescriptor,
                             cudnnBackendSetAttribute,
                             cudnnBackendGetAttribute,
                             cudnnBackendFinalize,
                             cudnnBackendExecute};
  return ::emulated::cudnn::present ? &table : nullptr;
}

const std::string& reason_for_none() {
  static const std::string reason = "this program is one without the emulated cuDNN";
  return reason;
}

std::string Library::words(cudnnStatus_t status) const {
  return error_string(status);
}

}  // namespace train::cuda::cudnn

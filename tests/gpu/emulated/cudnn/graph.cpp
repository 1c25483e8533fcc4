#include "tests/gpu/emulated/cudnn/graph.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "collectives/types.hpp"
#include "tests/gpu/emulated/runtime/fail.hpp"
#include "tests/gpu/emulated/runtime/memory.hpp"

namespace emulated::cudnn {
namespace {

// Elements in the order of the extents, whatever the strides; numbers of any type as f32.
using Values = std::vector<float>;

template <typename Body>
void for_each_place(const Extents& extents, Body&& body) {
  Extents at{};
  std::size_t index = 0;
  for (at[0] = 0; at[0] < extents[0]; ++at[0]) {
    for (at[1] = 0; at[1] < extents[1]; ++at[1]) {
      for (at[2] = 0; at[2] < extents[2]; ++at[2]) {
        for (at[3] = 0; at[3] < extents[3]; ++at[3]) body(at, index++);
      }
    }
  }
}

std::size_t place(const Extents& extents, const Extents& at) {
  return static_cast<std::size_t>(((at[0] * extents[1] + at[1]) * extents[2] + at[2]) * extents[3] +
                                  at[3]);
}

// Where `at` of an output reads an operand of extent 1, or of an extent that divides the output's.
Extents spread(const Extents& at, const Extents& from, const Extents& to) {
  Extents place{};
  for (std::size_t axis = 0; axis < 4; ++axis) {
    if (from[axis] != to[axis] && from[axis] != 1) fail("cuDNN: operands of other extents");
    place[axis] = from[axis] == 1 ? 0 : at[axis];
  }
  return place;
}

float rounded(float value, cudnnDataType_t type) {
  return type == CUDNN_DATA_BFLOAT16 ? float(train::BFloat16(value)) : value;
}

// An f32 result that is bound is one to which blocks of keys add as they finish.
bool is_sum_in_memory(const Tensor& tensor) {
  return tensor.in_memory && tensor.type == CUDNN_DATA_FLOAT;
}

// Where such a sum begins: elsewhere each time.
std::int64_t next_first(std::int64_t count) {
  static std::atomic<std::int64_t> calls = 0;
  return calls++ * 7 % count;
}

class Run {
 public:
  explicit Run(const Bindings& bindings) : bindings_(bindings) {}

  void operation(const Descriptor& operation);

 private:
  const Values& read(const Tensor& tensor);
  void write(const Tensor& tensor, Values values);
  void matmul(const Descriptor& operation);
  void pointwise(const Descriptor& operation);
  void reduce(const Descriptor& operation);
  void reshape(const Descriptor& operation);

  const Bindings& bindings_;
  std::map<std::int64_t, Values> values_;  // by id
};

const Values& Run::read(const Tensor& tensor) {
  const auto known = values_.find(tensor.id);
  if (known != values_.end()) return known->second;
  if (!tensor.in_memory) fail("cuDNN: an operation reads what none before it has written");
  const Bound& bound = bindings_.at(tensor.id);
  Values values(static_cast<std::size_t>(tensor.elements()), bound.number);
  if (!tensor.by_value) {
    if (!in_block(bound.address, tensor.bytes())) fail("cuDNN: a tensor leaves its block");
    for_each_place(tensor.extents, [&](const Extents& at, std::size_t index) {
      const std::int64_t offset = tensor.offset(at);
      values[index] = tensor.type == CUDNN_DATA_FLOAT
                          ? static_cast<const float*>(bound.address)[offset]
                          : float(static_cast<const train::BFloat16*>(bound.address)[offset]);
    });
  }
  return values_.emplace(tensor.id, std::move(values)).first->second;
}

void Run::write(const Tensor& tensor, Values values) {
  for (float& value : values) value = rounded(value, tensor.type);
  if (tensor.in_memory) {
    const Bound& bound = bindings_.at(tensor.id);
    if (!in_block(bound.address, tensor.bytes())) fail("cuDNN: a result leaves its block");
    for_each_place(tensor.extents, [&](const Extents& at, std::size_t index) {
      const std::int64_t offset = tensor.offset(at);
      if (tensor.type == CUDNN_DATA_FLOAT) {
        static_cast<float*>(bound.address)[offset] = values[index];
      } else {
        static_cast<train::BFloat16*>(bound.address)[offset] = train::BFloat16(values[index]);
      }
    });
  }
  values_[tensor.id] = std::move(values);
}

void Run::matmul(const Descriptor& operation) {
  const Tensor a(operation.linked(CUDNN_ATTR_OPERATION_MATMUL_ADESC));
  const Tensor b(operation.linked(CUDNN_ATTR_OPERATION_MATMUL_BDESC));
  const Tensor c(operation.linked(CUDNN_ATTR_OPERATION_MATMUL_CDESC));
  if (a.extents[3] != b.extents[2] || a.extents[2] != c.extents[2] ||
      b.extents[3] != c.extents[3] || a.extents[1] != c.extents[1] ||
      c.extents[1] % b.extents[1] != 0) {
    fail("cuDNN: a product of matrices that do not fit");
  }
  const Values left = read(a), right = read(b);
  const std::int64_t group = c.extents[1] / b.extents[1], count = a.extents[3];
  const std::int64_t first = is_sum_in_memory(c) ? next_first(count) : 0;
  Values result(static_cast<std::size_t>(c.elements()));
  for_each_place(c.extents, [&](const Extents& at, std::size_t index) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t k = (first + i) % count;
      result[index] += left[place(a.extents, {at[0], at[1], at[2], k})] *
                       right[place(b.extents, {at[0], at[1] / group, k, at[3]})];
    }
  });
  write(c, std::move(result));
}

float combine(cudnnPointwiseMode_t mode, float x, float b) {
  switch (mode) {
    case CUDNN_POINTWISE_ADD:
      return x + b;
    case CUDNN_POINTWISE_SUB:
      return x - b;
    case CUDNN_POINTWISE_MUL:
      return x * b;
    case CUDNN_POINTWISE_DIV:
      return x / b;
    case CUDNN_POINTWISE_EXP:
      return std::exp(x);
    case CUDNN_POINTWISE_LOG:
      return std::log(x);
    case CUDNN_POINTWISE_IDENTITY:
      return x;
    case CUDNN_POINTWISE_CMP_GE:
      return x >= b ? 1.0f : 0.0f;
    default:
      fail("cuDNN: a pointwise mode that the emulation does not know");
  }
}

void Run::pointwise(const Descriptor& operation) {
  const Descriptor& kind = operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
  const auto mode = kind.one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
  const Tensor x(operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
  const Tensor y(operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
  Values result(static_cast<std::size_t>(y.elements()));
  if (mode == CUDNN_POINTWISE_GEN_INDEX) {
    const auto axis = static_cast<std::size_t>(kind.one<std::int64_t>(CUDNN_ATTR_POINTWISE_AXIS));
    for_each_place(y.extents, [&](const Extents& at, std::size_t index) {
      result[index] = static_cast<float>(at[axis]);
    });
    return write(y, std::move(result));
  }
  const bool two = operation.has(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
  const Tensor b = two ? Tensor(operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)) : x;
  const Values first = read(x), second = read(b);
  const bool select = mode == CUDNN_POINTWISE_BINARY_SELECT;
  const Tensor t = select ? Tensor(operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_TDESC)) : x;
  const Values where = read(t);
  for_each_place(y.extents, [&](const Extents& at, std::size_t index) {
    const float one = first[place(x.extents, spread(at, x.extents, y.extents))];
    const float other = second[place(b.extents, spread(at, b.extents, y.extents))];
    const bool holds = where[place(t.extents, spread(at, t.extents, y.extents))] != 0.0f;
    result[index] = select ? (holds ? one : other) : combine(mode, one, other);
  });
  write(y, std::move(result));
}

void Run::reduce(const Descriptor& operation) {
  const Descriptor& kind = operation.linked(CUDNN_ATTR_OPERATION_REDUCTION_DESC);
  const bool sum =
      kind.one<cudnnReduceTensorOp_t>(CUDNN_ATTR_REDUCTION_OPERATOR) == CUDNN_REDUCE_TENSOR_ADD;
  const Tensor x(operation.linked(CUDNN_ATTR_OPERATION_REDUCTION_XDESC));
  const Tensor y(operation.linked(CUDNN_ATTR_OPERATION_REDUCTION_YDESC));
  const Values values = read(x);
  Values result(static_cast<std::size_t>(y.elements()),
                sum ? 0.0f : -std::numeric_limits<float>::infinity());
  for_each_place(x.extents, [&](const Extents& at, std::size_t index) {
    Extents into{};
    for (std::size_t axis = 0; axis < 4; ++axis) {
      into[axis] = at[axis] / (x.extents[axis] / y.extents[axis]);
    }
    float& target = result[place(y.extents, into)];
    target = sum ? target + values[index] : std::fmax(target, values[index]);
  });
  write(y, std::move(result));
}

// The same memory, seen by other extents and strides.
void Run::reshape(const Descriptor& operation) {
  const Tensor x(operation.linked(CUDNN_ATTR_OPERATION_RESHAPE_XDESC));
  const Tensor y(operation.linked(CUDNN_ATTR_OPERATION_RESHAPE_YDESC));
  const Values values = read(x);
  std::map<std::int64_t, float> by_offset;
  for_each_place(x.extents, [&](const Extents& at, std::size_t index) {
    by_offset[x.offset(at)] = values[index];
  });
  Values result(static_cast<std::size_t>(y.elements()));
  for_each_place(y.extents, [&](const Extents& at, std::size_t index) {
    const auto found = by_offset.find(y.offset(at));
    if (found == by_offset.end()) fail("cuDNN: a reshape reads what its source does not hold");
    result[index] = found->second;
  });
  write(y, std::move(result));
}

void Run::operation(const Descriptor& operation) {
  switch (operation.type) {
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
      return matmul(operation);
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
      return pointwise(operation);
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
      return reduce(operation);
    case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR:
      return reshape(operation);
    default:
      fail("cuDNN: an operation that the emulation does not know");
  }
}

const std::vector<Shared>& operations(const Descriptor& graph) {
  return graph.attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors;
}

bool is_tensor(const Shared& descriptor) {
  return descriptor->type == CUDNN_BACKEND_TENSOR_DESCRIPTOR;
}

}  // namespace

Tensor::Tensor(const Descriptor& descriptor)
    : id(descriptor.one<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)),
      alignment(descriptor.one<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)),
      type(descriptor.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE)),
      in_memory(!descriptor.has(CUDNN_ATTR_TENSOR_IS_VIRTUAL)),
      by_value(descriptor.has(CUDNN_ATTR_TENSOR_IS_BY_VALUE)) {
  const auto all_extents = descriptor.all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const auto all_strides = descriptor.all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  std::copy_n(all_extents.begin(), 4, extents.begin());
  std::copy_n(all_strides.begin(), 4, strides.begin());
}

std::int64_t Tensor::elements() const {
  return extents[0] * extents[1] * extents[2] * extents[3];
}

std::size_t Tensor::element_bytes() const {
  return type == CUDNN_DATA_BFLOAT16 ? 2 : 4;
}

std::int64_t Tensor::offset(const Extents& at) const {
  return at[0] * strides[0] + at[1] * strides[1] + at[2] * strides[2] + at[3] * strides[3];
}

std::size_t Tensor::bytes() const {
  const Extents last{extents[0] - 1, extents[1] - 1, extents[2] - 1, extents[3] - 1};
  return static_cast<std::size_t>(offset(last) + 1) * element_bytes();
}

std::vector<Tensor> bound_tensors(const Descriptor& graph) {
  std::map<std::int64_t, Tensor> found;
  for (const Shared& operation : operations(graph)) {
    for (const auto& [name, attribute] : operation->attributes) {
      for (const Shared& descriptor : attribute.descriptors) {
        if (!is_tensor(descriptor)) continue;
        const Tensor tensor(*descriptor);
        if (tensor.in_memory) found.emplace(tensor.id, tensor);
      }
    }
  }
  std::vector<Tensor> tensors;
  for (const auto& [id, tensor] : found) tensors.push_back(tensor);
  return tensors;
}

bool known(const Descriptor& graph) {
  const std::vector<Tensor> tensors = bound_tensors(graph);
  return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& tensor) {
    const std::int64_t width = tensor.strides[2] == 1 ? tensor.extents[2] : tensor.extents[3];
    return tensor.type != CUDNN_DATA_BFLOAT16 || width % 8 == 0;
  });
}

bool sums_in_any_order(const Descriptor& graph) {
  const std::vector<Shared>& all = operations(graph);
  return std::any_of(all.begin(), all.end(), [](const Shared& operation) {
    return operation->type == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR &&
           is_sum_in_memory(Tensor(operation->linked(CUDNN_ATTR_OPERATION_MATMUL_CDESC)));
  });
}

std::int64_t workspace_bytes(const Descriptor& graph) {
  std::int64_t bytes = 0;
  if (sums_in_any_order(graph)) return bytes;
  for (const Shared& operation : operations(graph)) {
    if (operation->type != CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR) continue;
    bytes = std::max(bytes,
                     2 * Tensor(operation->linked(CUDNN_ATTR_OPERATION_RESHAPE_YDESC)).elements());
  }
  return bytes;
}

void run(const Descriptor& graph, const Bindings& bindings) {
  Run run(bindings);
  for (const Shared& operation : operations(graph)) run.operation(*operation);
}

}  // namespace emulated::cudnn

#include "libtrain/ops/cuda/fused_attention.hpp"

#include <algorithm>
#include <cmath>
#include <compare>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <cuda_runtime.h>
#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/unique_handle.hpp"
#include "libtrain/ops/cuda/attention_shape.hpp"
#include "libtrain/ops/cuda/cudnn/attention_graph.hpp"
#include "libtrain/ops/cuda/cudnn/library.hpp"
#include "libtrain/ops/cuda/cudnn/plan.hpp"
#include "libtrain/ops/cuda/scratch.hpp"
#include "libtrain/ops/cuda/workspace.hpp"
#include "libtrain/ops/fused_backward_bytes.hpp"
#include "libtrain/tensor/cuda/check.hpp"

namespace train::cuda {
namespace {

using cudnn::AttentionPart;
using cudnn::Binding;

struct HandleTraits {
  using Handle = cudnnHandle_t;
  static Handle empty() { return nullptr; }
  static void close(Handle handle) noexcept { cudnn::library()->destroy(handle); }
};

enum class Pass : std::uint8_t { forward, backward, backward_any_order };

// Everything that a plan depends on.
struct Key {
  Pass pass;
  std::int64_t batch, context, heads, kv_heads, head_width, whole_heads, whole_kv_heads;

  Key(Pass of, const AttentionPart& part)
      : pass(of),
        batch(part.batch),
        context(part.whole.context),
        heads(part.heads),
        kv_heads(part.kv_heads),
        head_width(part.whole.head_width),
        whole_heads(part.whole.heads),
        whole_kv_heads(part.whole.kv_heads) {}
  auto operator<=>(const Key&) const = default;
};

// A part and where in the whole it begins.
struct Call {
  AttentionPart part;
  std::int64_t sequence = 0, head = 0, kv_head = 0;
  cudnn::Plan* plan = nullptr;
};

// The most equal parts of `count` that are at most `size` long.
std::int64_t even_part(std::int64_t count, std::int64_t size) {
  const std::int64_t parts = size >= count ? 1 : (count + size - 1) / size;
  return (count + parts - 1) / parts;
}

// Of qkv in one call, so that it does not matter what type kernels count in.
constexpr std::int64_t elements_max = std::numeric_limits<std::int32_t>::max();

// What a pass keeps in memory for a head of queries; in any order that is an f32 sum, as much again
// in cuDNN's workspace before Hopper, and, where several heads have a key/value head in common,
// their own bf16 gradients of it.
std::int64_t kept_bytes(Pass pass, const AttentionShape& shape) {
  switch (pass) {
    case Pass::forward:
      return 0;
    case Pass::backward:
      return fused_backward_bytes(shape);
    case Pass::backward_any_order:
      return 12 * shape.context * shape.head_width;
  }
  return 0;
}

// Nothing where one key/value head's queries keep too much already.
std::vector<Call> calls_of(Pass pass, const AttentionShape& shape, std::int64_t bytes_max) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  const std::int64_t kept = group * kept_bytes(pass, shape);
  const std::int64_t at_once =  // key/value heads
      kept == 0 ? std::numeric_limits<std::int64_t>::max() : bytes_max / kept;
  if (at_once == 0 || shape.context * shape.qkv_width() > elements_max) return {};
  const std::int64_t kv_heads = even_part(shape.kv_heads, at_once);
  const std::int64_t sequences =
      std::min(at_once / shape.kv_heads, elements_max / (shape.context * shape.qkv_width()));
  const std::int64_t batch = sequences > 1 ? even_part(shape.batch, sequences) : std::int64_t{1};
  std::vector<Call> calls;
  for (std::int64_t b = 0; b < shape.batch; b += batch) {
    for (std::int64_t h = 0; h < shape.kv_heads; h += kv_heads) {
      const std::int64_t part_batch = std::min(batch, shape.batch - b);
      const std::int64_t part_kv_heads = std::min(kv_heads, shape.kv_heads - h);
      calls.push_back({.part = {shape, part_batch, part_kv_heads * group, part_kv_heads},
                       .sequence = b,
                       .head = h * group,
                       .kv_head = h});
    }
  }
  return calls;
}

template <typename T>
T* offset(const Tensor& tensor, std::int64_t elements) {
  return static_cast<T*>(tensor.raw()) + elements;
}

// Tensors of one pass; the backward pass's are undefined in the forward pass.
struct Operands {
  Tensor qkv, out, lse, dout, dqkv;
};

// Scratch of the backward passes, as large as their first call wants it, which is the largest.
struct Sums {
  Sums(CudaMemory& memory, Pass pass, const AttentionPart& part)
      : delta(memory, pass == Pass::forward ? 0 : rows(part)),
        dquery(memory, pass == Pass::backward_any_order ? rows(part) * part.whole.head_width : 0) {}
  static std::int64_t rows(const AttentionPart& part) {
    return part.batch * part.heads * part.whole.context;
  }

  Scratch<float> delta, dquery;
};

bool aligned(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
}

}  // namespace

class FusedAttention::Kernels {
 public:
  Kernels(CudaMemory& memory, SumOrder order, std::int64_t kept_bytes_max);

  SumOrder order() const { return order_; }
  /// False, with nothing done, where there is no kernel for it.
  bool run(Pass pass, const AttentionShape& shape, const Operands& operands);

 private:
  // As many as trainings and their evaluations need; each takes tens of kilobytes.
  static constexpr std::size_t kept_max = 256;

  bool takes(Pass pass, const AttentionShape& shape) const;
  bool connected();
  cudnn::Plan* plan(Pass pass, const AttentionPart& part);
  std::vector<Call> planned(Pass pass, const AttentionShape& shape, const Tensor& lse);
  void execute(Pass pass, const Call& call, const Operands& operands, const Sums& sums);

  CudaMemory& memory_;
  SumOrder order_;
  std::int64_t kept_bytes_max_;
  int capability_ = 0;
  UniqueHandle<HandleTraits> handle_;                // made when it is first needed
  bool refused_ = false;                             // cuDNN makes no handle
  std::map<Key, std::optional<cudnn::Plan>> plans_;  // without a plan: cuDNN has none
  Workspace workspace_;
};

FusedAttention::Kernels::Kernels(CudaMemory& memory, SumOrder order, std::int64_t kept_bytes_max)
    : memory_(memory), order_(order), kept_bytes_max_(kept_bytes_max), workspace_(memory) {
  int major = 0, minor = 0;
  const int device = memory_.stream().device();
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
        "cudaDeviceGetAttribute");
  capability_ = 10 * major + minor;
}

bool FusedAttention::Kernels::takes(Pass pass, const AttentionShape& shape) const {
  if (capability_ < 80) return false;
  return pass == Pass::forward
             ? cudnn::takes_forward(shape)
             : cudnn::takes_backward(shape, capability_, cudnn::library()->version());
}

// A cuDNN without its other libraries, or for other drivers, makes no handle.
bool FusedAttention::Kernels::connected() {
  if (handle_ || refused_) return !refused_;
  try {
    cudnnHandle_t created = nullptr;
    cudnn::check(cudnn::library()->create(&created), "cudnnCreate");
    handle_.reset(created);
    cudnn::check(cudnn::library()->set_stream(created, memory_.stream().get()), "cudnnSetStream");
  } catch (const cudnn::Refusal&) {
    refused_ = true;
  }
  return !refused_;
}

cudnn::Plan* FusedAttention::Kernels::plan(Pass pass, const AttentionPart& part) {
  const Key key(pass, part);
  auto found = plans_.find(key);
  if (found == plans_.end()) {
    std::optional<cudnn::Plan> made;
    try {
      const cudnn::Target target{.handle = handle_.get()};
      const SumOrder order = pass == Pass::backward_any_order ? SumOrder::any : SumOrder::fixed;
      made = make_plan(
          pass == Pass::forward ? forward_graph(part, target) : backward_graph(part, target, order),
          target, order);
    } catch (const cudnn::Refusal&) {
      made.reset();  // kept as such: the answer would be the same
    }
    found = plans_.emplace(key, std::move(made)).first;
  }
  return found->second ? &*found->second : nullptr;
}

void FusedAttention::Kernels::execute(Pass pass, const Call& call, const Operands& operands,
                                      const Sums& sums) {
  const AttentionShape& shape = call.part.whole;
  const std::int64_t row = call.sequence * shape.context, width = shape.head_width;
  const std::int64_t q = row * shape.qkv_width() + call.head * width;
  const std::int64_t k = row * shape.qkv_width() + (shape.heads + call.kv_head) * width;
  const std::int64_t v = k + shape.kv_heads * width;
  const std::int64_t in_out = row * shape.out_width() + call.head * width;
  const std::int64_t in_lse = (call.sequence * shape.heads + call.head) * shape.context;
  float scale = 1.0f / std::sqrt(static_cast<float>(width));
  float masked = -std::numeric_limits<float>::infinity(), one = 1.0f;
  std::vector<Binding> bindings{{cudnn::query, offset<BFloat16>(operands.qkv, q)},
                                {cudnn::key, offset<BFloat16>(operands.qkv, k)},
                                {cudnn::value, offset<BFloat16>(operands.qkv, v)},
                                {cudnn::out, offset<BFloat16>(operands.out, in_out)},
                                {cudnn::lse, offset<float>(operands.lse, in_lse)},
                                {cudnn::scale, &scale},
                                {cudnn::masked, &masked}};
  if (pass != Pass::forward) {
    bindings.insert(bindings.end(), {{cudnn::dout, offset<BFloat16>(operands.dout, in_out)},
                                     {cudnn::dquery, offset<BFloat16>(operands.dqkv, q)},
                                     {cudnn::dkey, offset<BFloat16>(operands.dqkv, k)},
                                     {cudnn::dvalue, offset<BFloat16>(operands.dqkv, v)},
                                     {cudnn::delta, sums.delta.data()},
                                     {cudnn::one, &one}});
  }
  if (pass == Pass::backward_any_order) {
    bindings.push_back({cudnn::dquery_sum, sums.dquery.data()});
  }
  cudnn::execute(*call.plan, handle_.get(), bindings, workspace_.get(call.plan->workspace_bytes));
}

// The calls that make up a pass, or none where one of them has no kernel.
std::vector<Call> FusedAttention::Kernels::planned(Pass pass, const AttentionShape& shape,
                                                   const Tensor& lse) {
  if (plans_.size() >= kept_max) plans_.clear();
  std::vector<Call> calls = calls_of(pass, shape, kept_bytes_max_);
  for (Call& call : calls) {
    call.plan = plan(pass, call.part);
    if (call.plan == nullptr) return {};
    // Rows of lse begin at multiples of 16 bytes only where sequences are multiples of 4 long.
    if (!aligned(offset<float>(lse, (call.sequence * shape.heads + call.head) * shape.context))) {
      return {};
    }
  }
  return calls;
}

bool FusedAttention::Kernels::run(Pass pass, const AttentionShape& shape,
                                  const Operands& operands) {
  if (!takes(pass, shape)) return false;
  memory_.stream().use();
  if (!connected()) return false;
  const std::vector<Call> calls = planned(pass, shape, operands.lse);
  if (calls.empty()) return false;
  const Sums sums(memory_, pass, calls[0].part);
  try {
    for (const Call& call : calls) execute(pass, call, operands, sums);
  } catch (const cudnn::Refusal& refusal) {
    throw Error(fmt::format(
        "cuDNN: {} of {} sequences of {} positions, {} heads of width {} ({} of keys and values) "
        "failed: {}; check that the libcudnn that the program finds is whole and that the driver "
        "serves its CUDA, run again under compute-sanitizer, or build with -DTRAIN_CUDNN=OFF, "
        "which leaves attention to kernels of our own",
        pass == Pass::forward ? "attention" : "attention_backward", shape.batch, shape.context,
        shape.heads, shape.head_width, shape.kv_heads, refusal.what()));
  }
  return true;
}

FusedAttention::FusedAttention(CudaMemory& memory, SumOrder order, std::int64_t kept_bytes_max) {
  if (available()) kernels_ = std::make_unique<Kernels>(memory, order, kept_bytes_max);
}

FusedAttention::~FusedAttention() = default;

bool FusedAttention::available() {
  return cudnn::library() != nullptr;
}

std::string FusedAttention::description() const {
  if (kernels_ == nullptr) return fmt::format("own kernels ({})", cudnn::reason_for_none());
  return fmt::format("cuDNN {}{}", cudnn::words_of(cudnn::library()->version()),
                     kernels_->order() == SumOrder::any ? ", sums in any order" : "");
}

bool FusedAttention::forward(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
                             const Tensor& out, const Tensor& lse) {
  if (kernels_ == nullptr || qkv.type() != DataType::bf16 || dropout.active()) return false;
  if (!chunks_fit(shape, {&qkv, &out})) return false;
  return kernels_->run(Pass::forward, shape,
                       {.qkv = qkv, .out = out, .lse = lse, .dout = {}, .dqkv = {}});
}

bool FusedAttention::backward(const Tensor& qkv, const AttentionShape& shape,
                              const Dropout& dropout, const Tensor& out, const Tensor& lse,
                              const Tensor& dout, const Tensor& dqkv) {
  if (kernels_ == nullptr || qkv.type() != DataType::bf16 || dropout.active()) return false;
  if (!chunks_fit(shape, {&qkv, &out, &dout, &dqkv})) return false;
  const Operands operands{.qkv = qkv, .out = out, .lse = lse, .dout = dout, .dqkv = dqkv};
  if (kernels_->order() == SumOrder::any &&
      kernels_->run(Pass::backward_any_order, shape, operands)) {
    return true;
  }
  return kernels_->run(Pass::backward, shape, operands);
}

}  // namespace train::cuda

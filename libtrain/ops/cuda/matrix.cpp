#include "libtrain/ops/cuda/matrix.hpp"

#include <algorithm>
#include <compare>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cublasLt.h>
#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/unique_handle.hpp"
#include "libtrain/ops/cuda/product_parts.hpp"
#include "libtrain/tensor/cuda/check.hpp"

namespace train::cuda {
namespace {

void check(cublasStatus_t status, const char* what, const std::string& in = "") {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(fmt::format(
      "cuBLASLt: {} failed{}: {}; check that the libcublasLt that the program finds is that of the "
      "CUDA that it was built with, and run again under compute-sanitizer, or use --device cpu",
      what, in, cublasLtGetStatusString(status)));
}

void check(cublasStatus_t status, const char* what, const Product& product) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  check(status, what,
        fmt::format(" in a product [{},{}] x [{},{}] of {} into {}", product.m, product.k,
                    product.k, product.n, name_of(product.a.type), name_of(product.c_type)));
}

// A descriptor of cuBLASLt's, with the function that gives it back.
template <typename Descriptor, cublasStatus_t (*destroy)(Descriptor)>
struct DescriptorTraits {
  using Handle = Descriptor;
  static Handle empty() { return nullptr; }
  static void close(Handle descriptor) noexcept { destroy(descriptor); }
};
using Library = UniqueHandle<DescriptorTraits<cublasLtHandle_t, cublasLtDestroy>>;
using Layout = UniqueHandle<DescriptorTraits<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>>;
using Operation = UniqueHandle<DescriptorTraits<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>>;
using Preference =
    UniqueHandle<DescriptorTraits<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>>;

cudaDataType_t cuda_type(DataType type) {
  switch (type) {
    case DataType::f32:
      return CUDA_R_32F;
    case DataType::bf16:
      return CUDA_R_16BF;
    default:
      unreachable("matrix products are of f32 and bf16");
  }
}

// The alignment that kernels are chosen by; none asks for more than 256.
std::uint32_t alignment(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address) | 256;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}

// What cuBLASLt calls auxiliary: gelu's argument, written forward and read back.
const void* aux_of(const Product& product) {
  return product.pre != nullptr ? product.pre : product.gelu_argument;
}

// Everything that cuBLASLt's advice depends on.
struct Key {
  std::int64_t m, n, k, a_stride, b_stride, c_stride;
  DataType factors, result;
  bool a_transposed, b_transposed, add, bias, gelu, pre, gelu_argument;
  std::uint32_t a_alignment, b_alignment, c_alignment, bias_alignment, aux_alignment;

  explicit Key(const Product& product)
      : m(product.m),
        n(product.n),
        k(product.k),
        a_stride(product.a.stride),
        b_stride(product.b.stride),
        c_stride(product.c_stride),
        factors(product.a.type),
        result(product.c_type),
        a_transposed(product.a.transposed),
        b_transposed(product.b.transposed),
        add(product.add),
        bias(product.bias != nullptr),
        gelu(product.gelu),
        pre(product.pre != nullptr),
        gelu_argument(product.gelu_argument != nullptr),
        a_alignment(alignment(product.a.data)),
        b_alignment(alignment(product.b.data)),
        c_alignment(alignment(product.c)),
        bias_alignment(alignment(product.bias)),
        aux_alignment(alignment(aux_of(product))) {}
  auto operator<=>(const Key&) const = default;
};

// cuBLASLt's matrices are column-major: to it, c is the transpose of what it is to us, and so are
// the factors. cᵀ[n,m] = bᵀ · aᵀ, so its first factor is our b.
struct Plan {
  Operation operation;
  Layout first, second, result;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace_bytes = 0;
};

// Rows × columns as we see them.
Layout layout(const Product& product, DataType type, std::int64_t rows, std::int64_t columns,
              std::int64_t stride) {
  cublasLtMatrixLayout_t created = nullptr;
  check(
      cublasLtMatrixLayoutCreate(&created, cuda_type(type), static_cast<std::uint64_t>(columns),
                                 static_cast<std::uint64_t>(rows), stride == 0 ? columns : stride),
      "cublasLtMatrixLayoutCreate", product);
  return Layout(created);
}

Layout layout(const Product& product, const Factor& factor, std::int64_t rows,
              std::int64_t columns) {
  if (factor.transposed) std::swap(rows, columns);
  return layout(product, factor.type, rows, columns, factor.stride);
}

template <typename Value>
void set(const Product& product, const Operation& operation,
         cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  check(cublasLtMatmulDescSetAttribute(operation.get(), attribute, &value, sizeof value),
        "cublasLtMatmulDescSetAttribute", product);
}

template <typename Value>
void set(const Product& product, const Preference& preference,
         cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute", product);
}

cublasLtEpilogue_t epilogue(const Product& product) {
  const bool bias = product.bias != nullptr;
  if (product.gelu_argument != nullptr) return CUBLASLT_EPILOGUE_DGELU;
  if (!product.gelu) return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (product.pre == nullptr) return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  return bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
}

// The addresses of what follows the product, which change from call to call.
void point(const Product& product, const Operation& operation) {
  if (product.bias != nullptr) {
    set(product, operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, product.bias);
  }
  if (const void* const aux = aux_of(product)) {
    set(product, operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
  }
}

Operation make_operation(const Product& product) {
  cublasLtMatmulDesc_t created = nullptr;
  check(cublasLtMatmulDescCreate(&created, CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "cublasLtMatmulDescCreate", product);
  Operation operation(created);
  const auto transform = [](const Factor& factor) {
    return static_cast<std::int32_t>(factor.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  };
  set(product, operation, CUBLASLT_MATMUL_DESC_TRANSA, transform(product.b));
  set(product, operation, CUBLASLT_MATMUL_DESC_TRANSB, transform(product.a));
  set(product, operation, CUBLASLT_MATMUL_DESC_EPILOGUE,
      static_cast<std::uint32_t>(epilogue(product)));
  if (aux_of(product) != nullptr) {
    set(product, operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, product.n);
  }
  point(product, operation);
  return operation;
}

Preference make_preference(const Product& product, std::size_t workspace_bytes) {
  cublasLtMatmulPreference_t created = nullptr;
  check(cublasLtMatmulPreferenceCreate(&created), "cublasLtMatmulPreferenceCreate", product);
  Preference preference(created);
  set(product, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
      static_cast<std::uint64_t>(workspace_bytes));
  // A sum over k that several blocks share meets in the workspace, in f32, in a step of its own.
  // Reducing in place or in the output's type would round bf16 once per part.
  set(product, preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  const Key key(product);
  set(product, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.b_alignment);
  set(product, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.a_alignment);
  set(product, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.c_alignment);
  set(product, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.c_alignment);
  return preference;
}

// What cuBLASLt documents, and its kernels' vector loads want, of epilogues.
bool epilogue_fits(const Product& product) {
  if (alignment(product.bias) < 16 || alignment(aux_of(product)) < 16) return false;
  return aux_of(product) == nullptr || product.n % 8 == 0;
}

void run(const Product& product, const Plan& plan, const Library& library, void* workspace,
         const Stream& stream) {
  point(product, plan.operation);
  const float one = 1.0f, old = product.add ? 1.0f : 0.0f;
  check(cublasLtMatmul(library.get(), plan.operation.get(), &one, product.b.data, plan.first.get(),
                       product.a.data, plan.second.get(), &old, product.c, plan.result.get(),
                       product.c, plan.result.get(), &plan.algorithm, workspace,
                       plan.workspace_bytes, stream.get()),
        "cublasLtMatmul", product);
}

}  // namespace

struct Matrix::Plans {
  // A training step has a few dozen kinds of products; text generation may have more.
  static constexpr std::size_t kept_max = 1024;

  Library library;
  std::map<Key, std::optional<Plan>> by_key;  // without a plan: cuBLASLt has none

  /// Plans stay where they are until room is made for others.
  void make_room(std::size_t count) {
    if (by_key.size() + count > kept_max) by_key.clear();
  }
  const std::optional<Plan>& get(const Product& product, std::size_t workspace_bytes);
};

const std::optional<Plan>& Matrix::Plans::get(const Product& product, std::size_t workspace_bytes) {
  const Key key(product);
  const auto found = by_key.find(key);
  if (found != by_key.end()) return found->second;

  Plan plan{make_operation(product), layout(product, product.b, product.k, product.n),
            layout(product, product.a, product.m, product.k),
            layout(product, product.c_type, product.m, product.n, product.c_stride)};
  const Preference preference = make_preference(product, workspace_bytes);
  constexpr int asked = 8;
  cublasLtMatmulHeuristicResult_t advice[asked] = {};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      library.get(), plan.operation.get(), plan.first.get(), plan.second.get(), plan.result.get(),
      plan.result.get(), preference.get(), asked, advice, &count);
  const auto* begin = advice + 0;
  const auto* end = begin + (status == CUBLAS_STATUS_SUCCESS ? count : 0);
  const auto* best = std::find_if(begin, end, [&](const auto& one) {
    return one.state == CUBLAS_STATUS_SUCCESS && one.workspaceSize <= workspace_bytes;
  });
  if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE) {
    check(status, "cublasLtMatmulAlgoGetHeuristic", product);
  }
  if (best == end) return by_key.emplace(key, std::nullopt).first->second;
  plan.algorithm = best->algo;
  plan.workspace_bytes = best->workspaceSize;
  return by_key.emplace(key, std::move(plan)).first->second;
}

Matrix::Matrix(CudaMemory& memory)
    : memory_(memory), plans_(std::make_unique<Plans>()), workspace_(memory) {
  memory_.stream().use();
  int major = 0;
  cuda::check(
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, memory_.stream().device()),
      "cudaDeviceGetAttribute");
  // At least twice what cuBLAS's documentation recommends (32 MiB on Hopper, 4 MiB before); what is
  // taken is only what chosen kernels want.
  workspace_bytes_max_ = std::size_t{major >= 9 ? 64u : 32u} << 20;
  cublasLtHandle_t created = nullptr;
  check(cublasLtCreate(&created), "cublasLtCreate");
  plans_->library.reset(created);
}

Matrix::~Matrix() = default;

bool Matrix::multiply(const Product& product) {
  invariant(product.m > 0 && product.n > 0 && product.k > 0, "a product of positive extents");
  if (product.a.type != product.b.type || !epilogue_fits(product)) return false;
  memory_.stream().use();
  const std::vector<Product> parts = parts_of(product);
  plans_->make_room(parts.size());
  std::vector<const Plan*> plans;
  for (const Product& part : parts) {
    const std::optional<Plan>& plan = plans_->get(part, workspace_bytes_max_);
    if (!plan) return false;
    plans.push_back(&*plan);
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    run(parts[i], *plans[i], plans_->library, workspace_.get(plans[i]->workspace_bytes),
        memory_.stream());
  }
  return !parts.empty();
}

}  // namespace train::cuda

#include "tests/gpu/emulated/cublasLt.h"

#include <Eigen/Core>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "collectives/types.hpp"
#include "tests/gpu/emulated/runtime/fail.hpp"
#include "tests/gpu/emulated/runtime/memory.hpp"
#include "tests/gpu/emulated/runtime/stream.hpp"

// Refuses what it does not know, what the library documents as unsupported, and, more strictly than
// the library, addresses that are less aligned than the algorithm was chosen for.

struct cublasLtContext {
  int device;
};

struct EmulatedMatrixLayout {
  cudaDataType_t type;
  std::int64_t rows, columns, stride;

  std::size_t element_bytes() const { return type == CUDA_R_32F ? 4 : 2; }
  std::size_t bytes() const {
    return static_cast<std::size_t>((columns - 1) * stride + rows) * element_bytes();
  }
};

struct EmulatedMatmulDesc {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  std::int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  void* aux = nullptr;
  std::int64_t aux_stride = 0;

  bool adds_bias() const { return (epilogue & CUBLASLT_EPILOGUE_BIAS) != 0; }
  bool gelu() const { return (epilogue & CUBLASLT_EPILOGUE_GELU) != 0; }
  bool has_aux() const { return (epilogue & 128) != 0; }
  bool gelu_gradient() const { return epilogue == CUBLASLT_EPILOGUE_DGELU; }
};

struct EmulatedMatmulPreference {
  std::uint64_t workspace_bytes = 0;
  std::uint32_t reduction_schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C, D
};

namespace {

// What an algorithm's opaque data means here.
struct Algorithm {
  std::uint64_t made = 0;
  std::uint32_t alignment[4] = {};
  std::int64_t k = 0;
  std::uint64_t parts = 1;  // that k is cut into, whose sums meet in the workspace
};
constexpr std::uint64_t made_here = 0x656d756c61746564;
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

Algorithm opened(const cublasLtMatmulAlgo_t& algo) {
  std::array<std::byte, sizeof(Algorithm)> bytes;
  std::memcpy(bytes.data(), &algo, bytes.size());
  return std::bit_cast<Algorithm>(bytes);
}

struct Extents {
  std::int64_t m, n, k;
};

bool aligned(const void* address, std::uint32_t bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

template <typename Value>
cublasStatus_t take(Value& value, const void* from, std::size_t bytes) {
  if (from == nullptr || bytes != sizeof value) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&value, from, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

bool known_epilogue(std::uint32_t epilogue) {
  switch (epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_DGELU:
    case CUBLASLT_EPILOGUE_GELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
      return true;
    default:
      return false;
  }
}

cublasStatus_t check_epilogue(const EmulatedMatmulDesc& desc, const EmulatedMatrixLayout& d) {
  if (!known_epilogue(desc.epilogue)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (desc.adds_bias() && (desc.bias == nullptr || !aligned(desc.bias, 16))) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (desc.has_aux()) {
    if (desc.aux == nullptr || desc.aux_stride < d.rows) return CUBLAS_STATUS_INVALID_VALUE;
    if (desc.aux_stride % 8 != 0 || !aligned(desc.aux, 16)) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return CUBLAS_STATUS_SUCCESS;
}

// D[m,n] = op(A)[m,k] · op(B)[k,n]; what the library's table of types has.
cublasStatus_t check_product(const EmulatedMatmulDesc& desc, const EmulatedMatrixLayout& a,
                             const EmulatedMatrixLayout& b, const EmulatedMatrixLayout& c,
                             const EmulatedMatrixLayout& d, Extents& extents) {
  const bool a_transposed = desc.transpose_a == CUBLAS_OP_T;
  const bool b_transposed = desc.transpose_b == CUBLAS_OP_T;
  extents = {a_transposed ? a.columns : a.rows, b_transposed ? b.rows : b.columns,
             a_transposed ? a.rows : a.columns};
  if ((b_transposed ? b.columns : b.rows) != extents.k || d.rows != extents.m ||
      d.columns != extents.n || c.rows != d.rows || c.columns != d.columns || c.type != d.type) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (desc.compute != CUBLAS_COMPUTE_32F || desc.scale != CUDA_R_32F || a.type != b.type ||
      (a.type == CUDA_R_32F && d.type != CUDA_R_32F)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return check_epilogue(desc, d);
}

using Values = Eigen::MatrixXf;

float read(const std::byte* at, cudaDataType_t type) {
  if (type == CUDA_R_32F) return *reinterpret_cast<const float*>(at);
  return static_cast<float>(*reinterpret_cast<const train::BFloat16*>(at));
}

void write(std::byte* at, cudaDataType_t type, float value) {
  if (type == CUDA_R_32F) {
    *reinterpret_cast<float*>(at) = value;
  } else {
    *reinterpret_cast<train::BFloat16*>(at) = train::BFloat16(value);
  }
}

Values read_matrix(const void* data, const EmulatedMatrixLayout& layout, bool transposed) {
  if (!emulated::in_block(data, layout.bytes())) {
    emulated::fail("cublasLtMatmul: a matrix leaves its block of device memory");
  }
  Values values(layout.rows, layout.columns);
  const auto* bytes = static_cast<const std::byte*>(data);
  const auto size = static_cast<std::int64_t>(layout.element_bytes());
  for (std::int64_t j = 0; j < layout.columns; ++j) {
    for (std::int64_t i = 0; i < layout.rows; ++i) {
      values(i, j) = read(bytes + (j * layout.stride + i) * size, layout.type);
    }
  }
  if (transposed) values.transposeInPlace();
  return values;
}

void write_matrix(const Values& values, void* data, const EmulatedMatrixLayout& layout) {
  if (!emulated::in_block(data, layout.bytes())) {
    emulated::fail("cublasLtMatmul: a result leaves its block of device memory");
  }
  auto* bytes = static_cast<std::byte*>(data);
  const auto size = static_cast<std::int64_t>(layout.element_bytes());
  for (std::int64_t j = 0; j < layout.columns; ++j) {
    for (std::int64_t i = 0; i < layout.rows; ++i) {
      write(bytes + (j * layout.stride + i) * size, layout.type, values(i, j));
    }
  }
}

// Hendrycks, Gimpel, 2016: the approximation that the library's epilogue computes.
float gelu(float x) {
  return 0.5f * x * (1.0f + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x)));
}

float gelu_slope(float x) {
  const float inner = 0.7978845608f * (x + 0.044715f * x * x * x), t = std::tanh(inner);
  return 0.5f * (1.0f + t) +
         0.5f * x * (1.0f - t * t) * 0.7978845608f * (1.0f + 3.0f * 0.044715f * x * x);
}

struct Call {
  EmulatedMatmulDesc desc;
  EmulatedMatrixLayout a_layout, b_layout, c_layout, d_layout;
  float alpha, beta;
  const void *a, *b, *c;
  void* d;
  Algorithm algorithm{};
  float* workspace;

  void run() const {
    const Values left = read_matrix(a, a_layout, desc.transpose_a == CUBLAS_OP_T);
    const Values right = read_matrix(b, b_layout, desc.transpose_b == CUBLAS_OP_T);
    Values result = multiply(left, right) * alpha;
    if (beta != 0.0f) result += beta * read_matrix(c, c_layout, false);
    if (desc.adds_bias()) {
      const EmulatedMatrixLayout bias{d_layout.type, d_layout.rows, 1, d_layout.rows};
      result.colwise() += read_matrix(desc.bias, bias, false).col(0);
    }
    const EmulatedMatrixLayout aux{d_layout.type, d_layout.rows, d_layout.columns, desc.aux_stride};
    if (desc.gelu_gradient()) {
      result.array() *= read_matrix(desc.aux, aux, false).unaryExpr(&gelu_slope).array();
    } else if (desc.has_aux()) {
      write_matrix(result, desc.aux, aux);
    }
    if (desc.gelu()) result = result.unaryExpr(&gelu);
    write_matrix(result, d, d_layout);
  }

  // In parts of k, whose sums go through the workspace.
  Values multiply(const Values& left, const Values& right) const {
    if (algorithm.parts == 1) return left * right;
    const Eigen::Index middle = left.cols() / 2;
    Eigen::Map<Values> first(workspace, left.rows(), right.cols());
    first = left.leftCols(middle) * right.topRows(middle);
    return first + left.rightCols(left.cols() - middle) * right.bottomRows(right.rows() - middle);
  }
};

}  // namespace

const char* cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "success";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "the functionality requested is not supported";
    default:
      return "an error of the emulated library";
  }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  int device = -1;
  if (cudaGetDevice(&device) != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasLtContext{device};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  cudaDeviceSynchronize();  // as the library's documentation says
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          std::uint64_t rows, std::uint64_t columns,
                                          std::int64_t leading_dimension) {
  const auto height = static_cast<std::int64_t>(rows);
  if ((type != CUDA_R_32F && type != CUDA_R_16BF) || rows == 0 || columns == 0 ||
      leading_dimension < height) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  *layout =
      new EmulatedMatrixLayout{type, height, static_cast<std::int64_t>(columns), leading_dimension};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *desc = new EmulatedMatmulDesc{.compute = compute, .scale = scale};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return take(desc->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return take(desc->transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return take(desc->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return take(desc->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return take(desc->aux, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return take(desc->aux_stride, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new EmulatedMatmulPreference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return take(preference->workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return take(preference->reduction_schemes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return take(preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES],
                  value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int asked,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* found) {
  Extents extents{};
  *found = 0;
  const cublasStatus_t status = check_product(*desc, *a, *b, *c, *d, extents);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (asked < 1) return CUBLAS_STATUS_INVALID_VALUE;
  Algorithm algorithm{.made = made_here, .k = extents.k};
  std::memcpy(algorithm.alignment, preference->alignment, sizeof algorithm.alignment);
  const std::size_t workspace = static_cast<std::size_t>(extents.m * extents.n) * sizeof(float);
  // Tall sums over k are cut in two, where the caller lets parts meet in f32.
  if (extents.k >= 64 && workspace <= preference->workspace_bytes &&
      (preference->reduction_schemes & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) != 0) {
    algorithm.parts = 2;
  }
  results[0] = {};
  std::memcpy(&results[0].algo, &algorithm, sizeof algorithm);
  results[0].workspaceSize = algorithm.parts == 2 ? workspace : 0;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, std::size_t workspace_bytes, cudaStream_t stream) {
  int device = -1;
  if (cudaGetDevice(&device) != cudaSuccess || device != handle->device) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  Extents extents{};
  const cublasStatus_t status =
      check_product(*desc, *a_layout, *b_layout, *c_layout, *d_layout, extents);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const Algorithm algorithm = opened(*algo);
  if (algorithm.made != made_here || algorithm.k != extents.k) return CUBLAS_STATUS_INVALID_VALUE;
  const void* addresses[] = {a, b, c, d};
  for (int i = 0; i < 4; ++i) {
    if (!aligned(addresses[i], algorithm.alignment[i])) return CUBLAS_STATUS_INVALID_VALUE;
  }
  const std::size_t wanted = static_cast<std::size_t>(extents.m * extents.n) * sizeof(float);
  if (algorithm.parts == 2 && (workspace_bytes < wanted || !aligned(workspace, 256) ||
                               !emulated::in_block(workspace, wanted))) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const Call call{*desc,
                  *a_layout,
                  *b_layout,
                  *c_layout,
                  *d_layout,
                  *static_cast<const float*>(alpha),
                  *static_cast<const float*>(beta),
                  a,
                  b,
                  c,
                  d,
                  algorithm,
                  static_cast<float*>(workspace)};
  const bool taken = emulated::enqueue(stream, [call] { call.run(); });
  return taken ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

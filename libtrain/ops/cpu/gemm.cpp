#include "libtrain/ops/cpu/gemm.hpp"

#include <algorithm>
#include <compare>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include <dnnl.hpp>
#include <omp.h>

#include "collectives/error.hpp"

namespace train::cpu {
namespace {

// oneDNN uses as many threads as OpenMP would give the calling thread.
class OpenMpThreads {
 public:
  explicit OpenMpThreads(int threads) : before_(omp_get_max_threads()) {
    if (before_ != threads) omp_set_num_threads(threads);
  }
  ~OpenMpThreads() {
    if (omp_get_max_threads() != before_) omp_set_num_threads(before_);
  }
  OpenMpThreads(const OpenMpThreads&) = delete;
  OpenMpThreads& operator=(const OpenMpThreads&) = delete;

 private:
  int before_;
};

dnnl::memory::data_type dnnl_type(DataType type) {
  switch (type) {
    case DataType::f32:
      return dnnl::memory::data_type::f32;
    case DataType::bf16:
      return dnnl::memory::data_type::bf16;
    default:
      unreachable("matrix products are of f32 and bf16");
  }
}

// rows × columns as a factor of the product, read from a matrix that may lie transposed.
dnnl::memory::desc describe(std::int64_t rows, std::int64_t columns, const ConstMatrix& matrix) {
  const dnnl::memory::dims strides = matrix.transposed ? dnnl::memory::dims{1, matrix.stride}
                                                       : dnnl::memory::dims{matrix.stride, 1};
  return {{rows, columns}, dnnl_type(matrix.type), strides};
}

// oneDNN 3 has other signatures than 2: templates, so that only those that are there are compiled.

template <typename PostOps>
void append_eltwise(PostOps& post_ops, dnnl::algorithm algorithm, float alpha) {
  if constexpr (requires { post_ops.append_eltwise(algorithm, alpha, 0.0f); }) {
    post_ops.append_eltwise(algorithm, alpha, 0.0f);
  } else {
    post_ops.append_eltwise(1.0f, algorithm, alpha, 0.0f);
  }
}

// `bias` may be an empty description.
template <typename Product>
typename Product::primitive_desc describe_product(const dnnl::engine& engine,
                                                  const dnnl::memory::desc& a,
                                                  const dnnl::memory::desc& b,
                                                  const dnnl::memory::desc& bias,
                                                  const dnnl::memory::desc& c,
                                                  const dnnl::primitive_attr& attributes) {
  using Description = typename Product::primitive_desc;
  if constexpr (requires { Description(engine, a, b, bias, c, attributes); }) {
    return Description(engine, a, b, bias, c, attributes);
  } else {
    return Description(typename Product::desc(a, b, bias, c), attributes, engine);
  }
}

// Everything that a kernel is generated for.
struct KernelKey {
  std::int64_t m, n, k;
  std::int64_t a_stride, b_stride, c_stride;
  bool a_transposed, b_transposed, add, has_bias;
  DataType a_type, b_type, c_type, bias_type;
  Activation activation;

  auto operator<=>(const KernelKey&) const = default;
};

struct Kernel {
  dnnl::memory::desc a, b, c, bias;
  dnnl::matmul product;  // empty where only a fallback exists
};

}  // namespace

struct Gemm::Kernels {
  // A training step has a few dozen shapes; text generation with growing prompts may have more.
  static constexpr std::size_t kept_max = 1024;

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<KernelKey, Kernel> by_key;

  Kernel& get(const KernelKey& key, const ConstMatrix& a, const ConstMatrix& b);
};

Kernel& Gemm::Kernels::get(const KernelKey& key, const ConstMatrix& a, const ConstMatrix& b) {
  if (const auto found = by_key.find(key); found != by_key.end()) return found->second;
  if (by_key.size() >= kept_max) by_key.clear();

  Kernel kernel;
  kernel.a = describe(key.m, key.k, a);
  kernel.b = describe(key.k, key.n, b);
  kernel.c = {{key.m, key.n}, dnnl_type(key.c_type), dnnl::memory::dims{key.c_stride, 1}};
  dnnl::post_ops post_ops;
  if (key.add) post_ops.append_sum(1.0f);
  if (key.activation == Activation::gelu_tanh) {
    append_eltwise(post_ops, dnnl::algorithm::eltwise_gelu_tanh, 0.0f);
  } else if (key.activation == Activation::silu) {
    append_eltwise(post_ops, dnnl::algorithm::eltwise_swish, 1.0f);
  }
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(post_ops);
  if (key.has_bias) {
    kernel.bias = {{1, key.n}, dnnl_type(key.bias_type), dnnl::memory::format_tag::ab};
  }
  try {
    const auto found = describe_product<dnnl::matmul>(engine, kernel.a, kernel.b, kernel.bias,
                                                      kernel.c, attributes);
    if (std::string_view(found.impl_info_str()).find("ref") == std::string_view::npos) {
      kernel.product = dnnl::matmul(found);
    }
  } catch (const dnnl::error& error) {
    // That is how oneDNN says that this processor has no kernel for the types.
    if (error.status != dnnl_unimplemented) throw;
  }
  return by_key.emplace(key, std::move(kernel)).first->second;
}

// oneDNN divides its work by the threads that are asked for, and leaves out the shares of those
// that OMP_THREAD_LIMIT holds back.
Gemm::Gemm(int threads)
    : threads_(std::min(threads, omp_get_thread_limit())), kernels_(std::make_unique<Kernels>()) {}

Gemm::~Gemm() = default;

void Gemm::multiply(std::int64_t m, std::int64_t n, std::int64_t k, const ConstMatrix& a,
                    const ConstMatrix& b, float beta, float* c, std::int64_t c_stride) {
  invariant(m > 0 && n > 0 && k > 0, "a product's extents are positive");
  const OpenMpThreads threads(threads_);
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1.0f,
                 static_cast<const float*>(a.data), a.stride, static_cast<const float*>(b.data),
                 b.stride, beta, c, c_stride);
  if (status != dnnl_success) {
    throw Error("oneDNN's dnnl_sgemm failed with status " + std::to_string(status) + " for " +
                std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k));
  }
}

bool Gemm::multiply_fused(std::int64_t m, std::int64_t n, std::int64_t k, const ConstMatrix& a,
                          const ConstMatrix& b, const Finish& finish, void* c, DataType c_type,
                          std::int64_t c_stride) {
  invariant(m > 0 && n > 0 && k > 0, "a product's extents are positive");
  const OpenMpThreads threads(threads_);
  const KernelKey key{m,
                      n,
                      k,
                      a.stride,
                      b.stride,
                      c_stride,
                      a.transposed,
                      b.transposed,
                      finish.add,
                      finish.bias != nullptr,
                      a.type,
                      b.type,
                      c_type,
                      finish.bias_type,
                      finish.activation};
  try {
    const Kernel& kernel = kernels_->get(key, a, b);
    if (!kernel.product) return false;
    const dnnl::engine& engine = kernels_->engine;
    // oneDNN's handles are not const; sources are only read.
    std::unordered_map<int, dnnl::memory> arguments{
        {DNNL_ARG_SRC, {kernel.a, engine, const_cast<void*>(a.data)}},
        {DNNL_ARG_WEIGHTS, {kernel.b, engine, const_cast<void*>(b.data)}},
        {DNNL_ARG_DST, {kernel.c, engine, c}}};
    if (finish.bias != nullptr) {
      arguments.insert({DNNL_ARG_BIAS, {kernel.bias, engine, const_cast<void*>(finish.bias)}});
    }
    kernel.product.execute(kernels_->stream, arguments);
    kernels_->stream.wait();
    return true;
  } catch (const dnnl::error& error) {
    throw Error("oneDNN's matmul failed (" + std::string(error.message) + ") for " +
                std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k));
  }
}

}  // namespace train::cpu

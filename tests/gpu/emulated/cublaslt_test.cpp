#include <cmath>
#include <vector>

#include <cublasLt.h>
#include <doctest/doctest.h>

#include "libtrain/ops/cuda/matrix.hpp"
#include "libtrain/tensor/cuda/cuda_memory.hpp"

// The emulated cuBLASLt, and libtrain's way of asking it.
namespace train::cuda {
namespace {

constexpr std::int64_t m = 6, n = 16, k = 80;

// f32 numbers on the device, and the block that they lie in.
class Numbers {
 public:
  Numbers(CudaMemory& memory, std::int64_t count, int seed) : memory_(memory), host_(count) {
    for (std::size_t i = 0; i < host_.size(); ++i) {
      host_[i] = static_cast<float>((static_cast<int>(i) * 29 + seed) % 37 - 18) / 16.0f;
    }
    data_ = static_cast<float*>(memory_.allocate(bytes()));
    memory_.copy_from_host(data_, host_.data(), bytes());
  }
  ~Numbers() { memory_.release(data_, bytes()); }
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;

  float* data() const { return data_; }
  float at(std::int64_t i) const { return host_[static_cast<std::size_t>(i)]; }
  std::vector<float> now() const {
    std::vector<float> values(host_.size());
    memory_.copy_to_host(values.data(), data_, bytes());
    return values;
  }

 private:
  std::size_t bytes() const { return host_.size() * sizeof(float); }

  CudaMemory& memory_;
  std::vector<float> host_;
  float* data_;
};

struct Bench {
  CudaMemory memory{0};
  Matrix matrix{memory};
  Numbers a{memory, m*k, 1}, b{memory, n*k, 2}, c{memory, m*n, 3}, pre{memory, m*n + 8, 4},
      bias{memory, n + 1, 5};

  Product product() const {
    return {.m = m,
            .n = n,
            .k = k,
            .a = {a.data(), DataType::f32, false},
            .b = {b.data(), DataType::f32, true},
            .c = c.data(),
            .c_type = DataType::f32};
  }
  double sum(std::int64_t row, std::int64_t column) const {
    double total = 0.0;
    for (std::int64_t i = 0; i < k; ++i) {
      total += static_cast<double>(a.at(row * k + i)) * static_cast<double>(b.at(column * k + i));
    }
    return total;
  }
  template <typename Want>
  void check(const std::vector<float>& got, const Want& want) const {
    for (std::int64_t row = 0; row < m; ++row) {
      for (std::int64_t column = 0; column < n; ++column) {
        const double value = want(row, column);
        CHECK(got[static_cast<std::size_t>(row * n + column)] ==
              doctest::Approx(value).epsilon(1e-5).scale(1.0));
      }
    }
  }
};

double gelu(double x) {
  return 0.5 * x * (1.0 + std::tanh(0.7978845608 * (x + 0.044715 * x * x * x)));
}

TEST_CASE("a product, added to what was there or with what follows it") {
  Bench bench;
  Product product = bench.product();
  product.add = true;
  REQUIRE(bench.matrix.multiply(product));
  bench.check(bench.c.now(), [&](auto row, auto column) {
    return bench.c.at(row * n + column) + bench.sum(row, column);
  });

  product.add = false;
  product.bias = bench.bias.data();
  product.gelu = true;
  product.pre = bench.pre.data();
  REQUIRE(bench.matrix.multiply(product));
  const auto argument = [&](auto row, auto column) {
    return bench.sum(row, column) + static_cast<double>(bench.bias.at(column));
  };
  bench.check(bench.pre.now(), argument);
  bench.check(bench.c.now(), [&](auto row, auto column) { return gelu(argument(row, column)); });
}

// One behind another, so that none is done by the plan of another.
TEST_CASE("rows of factors and of the result may have gaps") {
  Bench bench;
  struct Gaps {
    std::int64_t a, b, c;
  };
  for (const auto [in_a, in_b, in_c] :
       {Gaps{0, 0, 0}, Gaps{3, 0, 0}, Gaps{0, 5, 0}, Gaps{0, 0, 2}, Gaps{3, 5, 2}}) {
    const std::int64_t a_stride = k + in_a, b_stride = k + in_b, c_stride = n + in_c;
    const Numbers a(bench.memory, m * a_stride, 6), b(bench.memory, n * b_stride, 7);
    const Numbers c(bench.memory, m * c_stride, 8);
    Product product = bench.product();
    product.a = {a.data(), DataType::f32, false, a_stride};
    product.b = {b.data(), DataType::f32, true, b_stride};
    product.c = c.data();
    product.c_stride = c_stride;
    REQUIRE(bench.matrix.multiply(product));
    const std::vector<float> got = c.now();
    for (std::int64_t at = 0; at < m * c_stride; ++at) {
      const std::int64_t row = at / c_stride, column = at % c_stride;
      double want = column < n ? 0.0 : static_cast<double>(c.at(at));  // a gap stays as it was
      for (std::int64_t i = 0; column < n && i < k; ++i) {
        want += static_cast<double>(a.at(row * a_stride + i)) *
                static_cast<double>(b.at(column * b_stride + i));
      }
      CHECK(got[static_cast<std::size_t>(at)] == doctest::Approx(want).epsilon(1e-5).scale(1.0));
    }
  }
}

TEST_CASE("what cuBLASLt has no kernel for is refused, and nothing is written") {
  Bench bench;
  const std::vector<float> before = bench.c.now();
  Product product = bench.product();
  product.bias = bench.bias.data() + 1;  // not aligned
  CHECK_FALSE(bench.matrix.multiply(product));
  product.bias = nullptr;
  product.gelu = true;
  product.pre = bench.pre.data() + 1;
  CHECK_FALSE(bench.matrix.multiply(product));
  product.pre = bench.pre.data();
  product.n = 12;  // pre's rows are no multiple of 8 elements
  CHECK_FALSE(bench.matrix.multiply(product));
  product = bench.product();
  product.a.type = DataType::bf16;  // factors of two types
  CHECK_FALSE(bench.matrix.multiply(product));
  product = bench.product();
  product.c_type = DataType::bf16;  // f32 factors into bf16
  CHECK_FALSE(bench.matrix.multiply(product));
  CHECK(bench.c.now() == before);
}

TEST_CASE("an algorithm serves only addresses as aligned as it was asked for") {
  Bench bench;
  cublasLtHandle_t library = nullptr;
  REQUIRE(cublasLtCreate(&library) == CUBLAS_STATUS_SUCCESS);
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  cublasLtMatrixLayout_t square = nullptr;
  cublasLtMatrixLayoutCreate(&square, CUDA_R_32F, 4, 4, 4);
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulPreferenceCreate(&preference);
  cublasLtMatmulHeuristicResult_t advice{};
  int found = 0;
  REQUIRE(cublasLtMatmulAlgoGetHeuristic(library, desc, square, square, square, square, preference,
                                         1, &advice, &found) == CUBLAS_STATUS_SUCCESS);
  const float one = 1.0f, zero = 0.0f;
  const auto multiply = [&](const float* a) {
    return cublasLtMatmul(library, desc, &one, a, square, bench.b.data(), square, &zero,
                          bench.c.data(), square, bench.c.data(), square, &advice.algo, nullptr, 0,
                          bench.memory.stream().get());
  };
  CHECK(multiply(bench.a.data()) == CUBLAS_STATUS_SUCCESS);
  CHECK(multiply(bench.a.data() + 4) == CUBLAS_STATUS_INVALID_VALUE);
  const std::uint32_t unknown = 2;  // an epilogue that is not emulated
  cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &unknown, sizeof unknown);
  CHECK(multiply(bench.a.data()) == CUBLAS_STATUS_NOT_SUPPORTED);
  cublasLtMatmulPreferenceDestroy(preference);
  cublasLtMatrixLayoutDestroy(square);
  cublasLtMatmulDescDestroy(desc);
  cublasLtDestroy(library);
}

}  // namespace
}  // namespace train::cuda

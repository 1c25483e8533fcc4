#include "libtrain/ops/cuda/product_parts.hpp"

#include <cstddef>
#include <utility>

namespace train::cuda {
namespace {

// cuBLASLt takes far slower kernels as soon as an extent is no multiple of 16 bytes, wherever rows
// begin: an H100 reached 97 TFLOP/s in [4096, 768] x [768, 50257], and 690 with 50304. So an odd
// extent is cut in two, of which the second is small.
constexpr std::int64_t ragged_min = 512;  // below, a second launch costs more
constexpr std::int64_t whole_step = 64;

bool ragged(const Product& product, std::int64_t extent) {
  return product.a.type == DataType::bf16 && extent >= ragged_min && extent % 8 != 0;
}

std::int64_t whole_of(std::int64_t extent) {
  return extent / whole_step * whole_step;
}

std::ptrdiff_t bytes_of(std::int64_t count, DataType type) {
  return count * static_cast<std::ptrdiff_t>(size_of(type));
}

// The part of a factor from this row and column on, as products see it.
Factor part_of(Factor factor, std::int64_t row, std::int64_t column) {
  if (factor.transposed) std::swap(row, column);
  factor.data = static_cast<const std::byte*>(factor.data) +
                bytes_of(row * factor.stride + column, factor.type);
  return factor;
}

// The result's part from this many elements on.
void* part_of_result(const Product& product, std::int64_t count) {
  return static_cast<std::byte*>(product.c) + bytes_of(count, product.c_type);
}

// With no stride left to be inferred from an extent.
Product with_strides(Product product) {
  const auto fill = [](Factor& factor, std::int64_t rows, std::int64_t columns) {
    if (factor.stride == 0) factor.stride = factor.transposed ? rows : columns;
  };
  fill(product.a, product.m, product.k);
  fill(product.b, product.k, product.n);
  if (product.c_stride == 0) product.c_stride = product.n;
  return product;
}

using Halves = std::pair<Product, Product>;

Halves split_columns(const Product& product) {
  Product whole = with_strides(product), rest = whole;
  whole.n = whole_of(product.n);
  rest.n = product.n - whole.n;
  rest.b = part_of(rest.b, 0, whole.n);
  rest.c = part_of_result(whole, whole.n);
  if (product.bias != nullptr) {
    rest.bias = static_cast<const std::byte*>(product.bias) + bytes_of(whole.n, product.c_type);
  }
  return {whole, rest};
}

Halves split_rows(const Product& product) {
  Product whole = with_strides(product), rest = whole;
  whole.m = whole_of(product.m);
  rest.m = product.m - whole.m;
  rest.a = part_of(rest.a, whole.m, 0);
  rest.c = part_of_result(whole, whole.m * whole.c_stride);
  return {whole, rest};
}

Halves split_sum(const Product& product) {
  Product whole = with_strides(product), rest = whole;
  whole.k = whole_of(product.k);
  rest.k = product.k - whole.k;
  rest.a = part_of(rest.a, 0, whole.k);
  rest.b = part_of(rest.b, whole.k, 0);
  rest.add = true;
  return {whole, rest};
}

std::vector<Product> halves_of(const std::vector<Product>& products,
                               Halves (*split)(const Product&)) {
  std::vector<Product> halves;
  for (const Product& product : products) {
    const auto [whole, rest] = split(product);
    halves.insert(halves.end(), {whole, rest});
  }
  return halves;
}

}  // namespace

std::vector<Product> parts_of(const Product& product) {
  std::vector<Product> parts{product};
  if (product.pre == nullptr && product.gelu_argument == nullptr) {
    if (ragged(product, product.n)) parts = halves_of(parts, split_columns);
    if (ragged(product, product.m)) parts = halves_of(parts, split_rows);
  }
  if (!ragged(product, product.k)) return parts;
  if (product.c_type != DataType::f32 || product.gelu || product.bias != nullptr) return {};
  return halves_of(parts, split_sum);
}

}  // namespace train::cuda

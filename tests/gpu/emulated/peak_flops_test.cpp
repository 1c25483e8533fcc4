#include "libtrain/ops/cuda/peak_flops.hpp"

#include <doctest/doctest.h>

using namespace train;

TEST_CASE("peaks are those of the data sheet of the very model") {
  const auto bf16 = [](const char* name, int multiprocessors) {
    return 1e-12 * cuda::peak_flops(name, multiprocessors, DataType::bf16);
  };
  CHECK(bf16("NVIDIA A100-SXM4-80GB", 108) == doctest::Approx(312));
  CHECK(bf16("NVIDIA A100 80GB PCIe", 108) == doctest::Approx(312));
  CHECK(bf16("NVIDIA H100 80GB HBM3", 132) == doctest::Approx(989));
  CHECK(bf16("NVIDIA H100 NVL", 132) == doctest::Approx(835));
  CHECK(bf16("NVIDIA H100 PCIe", 114) == doctest::Approx(756));
  CHECK(bf16("NVIDIA H200", 132) == doctest::Approx(989));
  CHECK(bf16("NVIDIA H20", 78) == doctest::Approx(148));
  CHECK(bf16("NVIDIA L40", 142) == doctest::Approx(181));
  CHECK(bf16("NVIDIA L40S", 142) == doctest::Approx(362));
  CHECK(bf16("NVIDIA GeForce RTX 4090", 128) == doctest::Approx(165.2));
  CHECK(1e-12 * cuda::peak_flops("NVIDIA H20", 78, DataType::f32) == doctest::Approx(44));
}

TEST_CASE("of models that the table lacks, and of parts of a GPU, no peak is known") {
  for (const char* name : {"NVIDIA A10G", "NVIDIA GB200", "NVIDIA RTX 6000 Ada Generation", ""}) {
    CHECK(cuda::peak_flops(name, 142, DataType::bf16) == 0.0);
  }
  CHECK(cuda::peak_flops("NVIDIA GeForce RTX 4080 Laptop GPU", 58, DataType::bf16) == 0.0);
  CHECK(cuda::peak_flops("NVIDIA H100 80GB HBM3 MIG 3g.40gb", 60, DataType::bf16) == 0.0);
}

#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "libtrain/ops/cuda/cudnn/attention_graph.hpp"
#include "libtrain/ops/cuda/cudnn/plan.hpp"
#include "libtrain/ops/fused_backward_bytes.hpp"

// The graphs of attention, put to the cuDNN of this machine for GPUs that it does not have: cuDNN
// has to know them, advise kernels for them, and compile these. Nothing runs.
namespace train::cuda::cudnn {
namespace {

struct Gpu {
  const char* name;
  int capability;  // 80 for 8.0
  int multiprocessors, shared_memory, clock_khz, memory_clock_khz, l2_bytes, bus_bits;
};

// From the tables of NVIDIA's tuning guides and data sheets.
constexpr Gpu gpus[] = {
    {"NVIDIA A100-SXM4-80GB", 80, 108, 166912, 1410000, 1593000, 41943040, 5120},
    {"NVIDIA H100 80GB HBM3", 90, 132, 232448, 1980000, 2619000, 52428800, 5120},
};

// Every property that cuDNN wants to be told: no document lists them, but it names what it misses.
Descriptor properties_of(const Gpu& gpu) {
  const std::string text = fmt::format(
      R"({{"deviceName": "{0}", "deviceVer": {1}, "driverVer": 13000, "cudaDeviceId": 0,)"
      R"("pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1,)"
      R"("totalGlobalMem": 85000000000,)"
      R"("multiProcessorCount": {2}, "smCountOrigin": 0, "maxSharedMemoryPerBlock": 49152,)"
      R"("maxSharedMemoryPerBlockOptin": {3}, "oversizedSharedMemoryPerBlock": {3},)"
      R"("reservedSharedMemoryPerBlock": 1024, "smClockRateKHz": {4}, "memClockRateKHz": {5},)"
      R"("l2CacheSize": {6}, "memoryBusWidth": {7}, "warpSize": 32,)"
      R"("regsPerBlock": 65536, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32,)"
      R"("maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048,)"
      R"("maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64]}})",
      gpu.name, gpu.capability * 10, gpu.multiprocessors, gpu.shared_memory, gpu.clock_khz,
      gpu.memory_clock_khz, gpu.l2_bytes, gpu.bus_bits);
  Descriptor properties(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::string_view(text));
  properties.finalize();
  return properties;
}

constexpr AttentionShape shapes[] = {
    {.batch = 8, .context = 1024, .heads = 12, .kv_heads = 12, .head_width = 64},  // GPT-2
    {.batch = 4, .context = 1024, .heads = 25, .kv_heads = 25, .head_width = 64},  // its largest
    {.batch = 1, .context = 2048, .heads = 32, .kv_heads = 8, .head_width = 64},   // a Llama of 1B
    {.batch = 2, .context = 512, .heads = 8, .kv_heads = 2, .head_width = 128},
    {.batch = 2, .context = 77, .heads = 12, .kv_heads = 12, .head_width = 64},
    {.batch = 3, .context = 33, .heads = 6, .kv_heads = 3, .head_width = 8},
    {.batch = 4096, .context = 16, .heads = 8, .kv_heads = 8, .head_width = 32},  // short ones
    {.batch = 1024, .context = 64, .heads = 8, .kv_heads = 8, .head_width = 32},
    {.batch = 512, .context = 80, .heads = 8, .kv_heads = 2, .head_width = 64},
};

AttentionPart all_of(const AttentionShape& shape) {
  return {shape, shape.batch, shape.heads, shape.kv_heads};
}

// Of the gradients of all scores.
std::size_t scores_bytes(const AttentionShape& shape) {
  return static_cast<std::size_t>(2 * shape.batch * shape.heads * shape.context * shape.context);
}

std::int64_t rounded_context(const AttentionShape& shape) {
  return (shape.context + 127) / 128 * 128;
}

// A later cuDNN may want to be told more of a GPU.
bool can_tell() {
  REQUIRE_MESSAGE(library() != nullptr, reason_for_none());
  try {
    properties_of(gpus[0]);
    return true;
  } catch (const Refusal& refusal) {
    MESSAGE("skipped: cuDNN ", library()->version(), " does not know the GPU: ", refusal.what());
    return false;
  }
}

template <typename Body>
void for_each(Body&& body) {
  if (!can_tell()) return;
  for (const Gpu& gpu : gpus) {
    const Descriptor properties = properties_of(gpu);
    for (const AttentionShape& shape : shapes) {
      CAPTURE(gpu.name);
      CAPTURE(shape.context);
      CAPTURE(shape.heads);
      CAPTURE(shape.kv_heads);
      CAPTURE(shape.head_width);
      try {
        body(gpu, shape, Target{.properties = &properties});
      } catch (const Refusal& refusal) {
        FAIL_CHECK("refused: ", refusal.what());
      }
    }
  }
}

TEST_CASE("cuDNN has kernels for attention's forward pass, in no memory of its own") {
  for_each([](const Gpu&, const AttentionShape& shape, const Target& target) {
    REQUIRE(takes_forward(shape));
    const Plan plan = make_plan(forward_graph(all_of(shape), target), target);
    CHECK(plan.workspace_bytes < 1 << 20);
  });
}

TEST_CASE("cuDNN has kernels for attention's backward pass that keep the scores' gradients") {
  for_each([](const Gpu& gpu, const AttentionShape& shape, const Target& target) {
    if (!takes_backward(shape, gpu.capability, library()->version())) return;
    const Plan plan = make_plan(backward_graph(all_of(shape), target), target);
    // Kernels that kept less would sum dquery as its parts come, with other bits each time.
    CHECK(plan.workspace_bytes >= scores_bytes(shape));
    CHECK(plan.workspace_bytes <=
          static_cast<std::size_t>(shape.batch * shape.heads * fused_backward_bytes(shape) +
                                   (1 << 20)));
  });
}

TEST_CASE("cuDNN has kernels for attention's backward pass that sum in any order, and keep less") {
  for_each([](const Gpu& gpu, const AttentionShape& shape, const Target& target) {
    if (!takes_backward(shape, gpu.capability, library()->version())) return;
    const Plan plan =
        make_plan(backward_graph(all_of(shape), target, SumOrder::any), target, SumOrder::any);
    // Beside the sum that they are given: the same before Hopper, and gradients of keys and values
    // of each head where heads have them in common.
    const std::int64_t elements =
        shape.batch * shape.heads * rounded_context(shape) * shape.head_width;
    CHECK(plan.workspace_bytes <= static_cast<std::size_t>(8 * elements + (1 << 20)));
    if (shape.context > 512) CHECK(plan.workspace_bytes < scores_bytes(shape) / 4);
  });
}

TEST_CASE("cuDNN has kernels for the longest calls of the largest models") {
  if (!can_tell()) return;
  const AttentionShape llama{
      .batch = 64, .context = 8192, .heads = 32, .kv_heads = 8, .head_width = 128};
  const AttentionShape gpt2{
      .batch = 64, .context = 1024, .heads = 25, .kv_heads = 25, .head_width = 64};
  for (const Gpu& gpu : gpus) {
    CAPTURE(gpu.name);
    const Descriptor properties = properties_of(gpu);
    const Target target{.properties = &properties};
    // As many sequences as have 2^31 elements of qkv, and the parts whose scores fit.
    make_plan(forward_graph({llama, 42, 32, 8}, target), target);
    make_plan(backward_graph({llama, 1, 4, 1}, target), target);
    make_plan(forward_graph(all_of(gpt2), target), target);
    make_plan(backward_graph({gpt2, 8, 25, 25}, target), target);
    // In any order, as many as 512 MiB of sums are for.
    make_plan(backward_graph({llama, 1, 32, 8}, target, SumOrder::any), target, SumOrder::any);
    make_plan(backward_graph({gpt2, 22, 25, 25}, target, SumOrder::any), target, SumOrder::any);
  }
}

TEST_CASE("cuDNN has kernels for some of the heads of one sequence") {
  if (!can_tell()) return;
  const AttentionShape whole{
      .batch = 2, .context = 4096, .heads = 32, .kv_heads = 8, .head_width = 64};
  const Descriptor properties = properties_of(gpus[1]);
  const Target target{.properties = &properties};
  const AttentionPart part{whole, 1, 8, 2};
  CHECK(make_plan(backward_graph(part, target), target).workspace_bytes < 320u << 20);
}

TEST_CASE("what cuDNN cannot do is refused, not an error") {
  const AttentionShape odd{.batch = 1, .context = 64, .heads = 2, .kv_heads = 2, .head_width = 10};
  CHECK_FALSE(takes_forward(odd));
  if (!can_tell()) return;
  const Descriptor properties = properties_of(gpus[0]);
  const Target target{.properties = &properties};
  CHECK_THROWS_AS(make_plan(forward_graph(all_of(odd), target), target), Refusal);
}

}  // namespace
}  // namespace train::cuda::cudnn

// A GPU that hangs, or is slow: what need not wait for it does not.
#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include <doctest/doctest.h>

#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/tensor/tensor.hpp"
#include "tests/gpu/emulated/gate.hpp"
#include "tests/support/training.hpp"

using namespace train;

TEST_CASE("the host is through a batch's forward and backward pass before the device has begun") {
  const auto device = make_cuda_device(0);
  Gpt model(training::tiny_gpt2(), *device);
  const std::vector<std::int32_t> tokens{1, 2, 3, 4, 5, 6, 7, 8, 9};
  Batch batch;
  batch.inputs = std::span(tokens).first(8);
  batch.targets = std::span(tokens).last(8);
  batch.sequences = 1;
  batch.context = 8;
  const double expected = model.evaluate(batch);
  Gate gate;
  gate.close_on(static_cast<cudaStream_t>(device->gpu()->stream));
  std::vector<Loss> losses;
  for (int pass = 0; pass < 3; ++pass) {
    losses.push_back(model.loss(batch));
    losses.back().backward();
  }
  CHECK_FALSE(gate.open);
  gate.open = true;
  for (const Loss& loss : losses) CHECK(loss.value() == doctest::Approx(expected));
}

TEST_CASE("a device whose work hangs is let go of after its grace") {
  Gate gate;
  auto memory = std::make_unique<cuda::CudaMemory>(0, std::chrono::milliseconds(50));
  auto ops = std::make_unique<cuda::CudaOps>(*memory);
  {
    const Tensor x(*memory, {64, 64}, DataType::f32), y(*memory, {64, 64}, DataType::f32);
    ops->fill(x, 1.0f);
    ops->linear(x, x, {}, Activation::none, {}, y);
    gate.close_on(memory->stream().get());
    ops->linear(x, x, {}, Activation::none, {}, y);
    CHECK_FALSE(memory->work_ends());
  }
  ops.reset();
  memory.reset();
  CHECK_FALSE(gate.open);
}

TEST_CASE("a copy at once does not queue behind work that was given since") {
  Gate gate;
  const auto device = make_cuda_device(0);
  const Tensor x(device->memory(), {3 << 20}, DataType::f32);
  device->ops().fill(x, 2.0f);
  x.memory().wait_for_work();
  gate.close_on(static_cast<cudaStream_t>(device->gpu()->stream));
  const Tensor y(device->memory(), {100}, DataType::f32);
  device->ops().fill(y, 3.0f);
  std::vector<float> values(3 << 20);
  x.copy_to_host_at_once(std::as_writable_bytes(std::span(values)));
  CHECK_FALSE(gate.open);
  CHECK(values.front() == 2.0f);
  CHECK(values.back() == 2.0f);
  gate.open = true;
  values.resize(100);
  y.copy_to_host(std::as_writable_bytes(std::span(values)));
  CHECK(values.back() == 3.0f);
}

// A GPU that hangs: what is destroyed must not wait for it, since the error is told afterwards.
#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include <doctest/doctest.h>

#include "libtrain/ops/cuda/cuda_ops.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/tensor/tensor.hpp"
#include "tests/gpu/emulated/gate.hpp"

using namespace train;

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

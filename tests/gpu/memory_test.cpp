// A GPU's memory as Memory promises it, and the ways in which it refuses.

#include <algorithm>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "libtrain/ops/device.hpp"
#include "libtrain/tensor/tensor.hpp"

using namespace train;

namespace {

std::vector<std::int32_t> counted(std::size_t count) {
  std::vector<std::int32_t> values(count);
  std::iota(values.begin(), values.end(), 1);
  return values;
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool has(const std::string& text, const char* part) {
  return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("what is copied to the device comes back, whatever its size") {
  const auto device = make_cuda_device(0);
  // Less than a staging block, exactly two, and several with a rest.
  for (const std::size_t count : {0u, 1u, 1000u, 2u << 20, (5u << 20) + 3u}) {
    CAPTURE(count);
    std::vector<std::int32_t> values = counted(count);
    const std::vector<std::int32_t> expected = values;
    const Tensor tensor(device->memory(), {static_cast<std::int64_t>(count)}, DataType::i32);
    tensor.copy_from_host(std::as_bytes(std::span(values)));
    // The copy may still be under way; the source is the caller's again.
    std::fill(values.begin(), values.end(), -1);
    tensor.copy_to_host(std::as_writable_bytes(std::span(values)));
    CHECK(values == expected);
  }
}

TEST_CASE("a copy comes behind the work that was given before it") {
  const auto device = make_cuda_device(0);
  const Tensor tensor(device->memory(), {100000}, DataType::f32);
  std::vector<float> values(100000);
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 20; ++j) device->ops().fill(tensor, static_cast<float>(j));
    device->ops().fill(tensor, static_cast<float>(i) + 0.5f);
    tensor.copy_to_host(std::as_writable_bytes(std::span(values)));
    CHECK(values.front() == static_cast<float>(i) + 0.5f);
    CHECK(values.back() == static_cast<float>(i) + 0.5f);
  }
}

TEST_CASE("released blocks are handed out again") {
  const auto device = make_cuda_device(0);
  const auto before = device->memory().statistics();
  for (int i = 0; i < 3; ++i) {
    const Tensor tensor(device->memory(), {1000}, DataType::f32);
    device->ops().fill(tensor, 1.0f);
  }
  const auto after = device->memory().statistics();
  CHECK(after.system_allocations == before.system_allocations + 1);
  CHECK(after.bytes_in_use == 0);
}

TEST_CASE("a full device gives back what it keeps, then says what does not fit") {
  const auto device = make_cuda_device(0);
  const std::string message = message_of([&] {
    std::vector<Tensor> tensors;
    while (true) tensors.emplace_back(device->memory(), Shape{std::int64_t{1} << 30}, DataType::u8);
  });
  CHECK(has(message, "out of memory"));
  CHECK(has(message, "1073741824 bytes"));
  CHECK(has(message, "--micro-batch"));
  // What was kept of another size makes room.
  const Tensor other(device->memory(), {std::int64_t{3} << 29}, DataType::u8);
  CHECK(other.defined());
}

TEST_CASE("on a full device a kept block serves that is somewhat larger, and keeps its size") {
  const auto device = make_cuda_device(0);
  constexpr std::int64_t mib = std::int64_t{1} << 20;
  const auto statistics = [&] { return device->memory().statistics(); };
  std::vector<Tensor> all;
  const auto fill = [&](std::int64_t bytes) {
    CHECK(has(message_of([&] {
                while (true) all.emplace_back(device->memory(), Shape{bytes}, DataType::u8);
              }),
              "out of memory"));
  };
  fill(1024 * mib);
  fill(256 * mib);
  const auto full = statistics();
  all.front().reset();
  {
    const Tensor less(device->memory(), {896 * mib}, DataType::u8);
    CHECK(statistics().bytes_reserved == full.bytes_reserved);
    CHECK(statistics().system_allocations == full.system_allocations);
  }
  // Too small for that block, which goes back to the device and makes room for several.
  {
    const Tensor small(device->memory(), {384 * mib}, DataType::u8);
    CHECK(statistics().bytes_reserved ==
          full.bytes_reserved - static_cast<std::size_t>((1024 - 384) * mib));
  }
  const auto before = statistics();
  CHECK(before.system_allocations == full.system_allocations + 1);
  all.clear();
  CHECK(statistics().bytes_reserved == before.bytes_reserved);
}

TEST_CASE("a device that does not exist is refused by its number") {
  const std::string message = message_of([] { make_cuda_device(4000); });
  CHECK(has(message, "4000"));
  CHECK(has(message, "CUDA_VISIBLE_DEVICES"));
  CHECK_THROWS_AS(make_cuda_device(-1), Error);
}

#include "libtrain/tensor/tensor.hpp"

#include <numeric>

#include <doctest/doctest.h>

#include "libtrain/tensor/cpu/cpu_memory.hpp"
#include "tests/support/dies.hpp"

namespace train {
namespace {

Tensor counted(CpuMemory& memory, Shape shape) {
  Tensor tensor(memory, shape, DataType::f32);
  std::iota(tensor.data<float>(), tensor.data<float>() + tensor.elements(), 0.0f);
  return tensor;
}

TEST_CASE("an undefined tensor has nothing") {
  CpuMemory memory;
  const Tensor none;
  CHECK_FALSE(none.defined());
  CHECK(none.buffer().count == 0);
  CHECK(memory.statistics().bytes_in_use == 0);
}

TEST_CASE("a tensor knows its elements, bytes and memory") {
  CpuMemory memory;
  const Tensor tensor(memory, {3, 5}, DataType::bf16);
  CHECK(tensor.defined());
  CHECK(tensor.elements() == 15);
  CHECK(tensor.bytes() == 30);
  CHECK(&tensor.memory() == &memory);
  CHECK(tensor.buffer().count == 15);
  CHECK(tensor.buffer().bytes() == 30);
  CHECK(tensor.span<BFloat16>().size() == 15);
  const Tensor empty(memory, {0, 5}, DataType::f32);
  CHECK(empty.defined());
  CHECK(empty.bytes() == 0);
}

TEST_CASE("a tensor over values that somebody else keeps shares them") {
  CpuMemory memory;
  auto values = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3, 4, 5, 6});
  Tensor tensor = Tensor::over(memory, values, *values);
  const std::weak_ptr<std::vector<float>> watched = values;
  values.reset();
  CHECK(memory.statistics().bytes_in_use == 0);
  Tensor rows = tensor.slice(2, {2, 2});
  tensor.reset();
  REQUIRE_FALSE(watched.expired());
  CHECK(rows.raw() == watched.lock()->data() + 2);
  float two[4];
  rows.copy_to_host(std::as_writable_bytes(std::span(two)));
  CHECK(two[0] == 3.0f);
  CHECK(two[3] == 6.0f);
  rows.reset();
  CHECK(watched.expired());
  CHECK(memory.statistics().bytes_in_use == 0);
}

TEST_CASE("copies share the elements and the last one gives them back") {
  CpuMemory memory;
  {
    Tensor copy;
    {
      const Tensor tensor = counted(memory, {4});
      copy = tensor;
      CHECK(copy.raw() == tensor.raw());
    }
    CHECK(copy.data<float>()[3] == 3.0f);
    CHECK(memory.statistics().bytes_in_use > 0);
  }
  CHECK(memory.statistics().bytes_in_use == 0);
}

TEST_CASE("slices, rows and other shapes share memory and keep it alive") {
  CpuMemory memory;
  Tensor inner;
  {
    const Tensor tensor = counted(memory, {4, 3});
    const Tensor rows = tensor.rows(1, 3);
    CHECK(rows.shape() == Shape{2, 3});
    CHECK(rows.data<float>() == tensor.data<float>() + 3);
    inner = rows.slice(2, {2, 1});
    inner.data<float>()[1] = -1.0f;
    CHECK(tensor.data<float>()[6] == -1.0f);
    const Tensor flat = tensor.reshaped({12});
    CHECK(flat.data<float>() == tensor.data<float>());
    CHECK(tensor.rows(4, 4).elements() == 0);
  }
  CHECK(inner.data<float>()[0] == 5.0f);
  inner = Tensor();
  CHECK(memory.statistics().bytes_in_use == 0);
}

TEST_CASE("copies from and to the host respect a slice's place") {
  CpuMemory memory;
  const Tensor tensor = counted(memory, {5});
  const std::array<float, 2> host{10.0f, 11.0f};
  tensor.slice(1, {2}).copy_from_host(std::as_bytes(std::span(host)));
  std::array<float, 4> back{};
  tensor.slice(0, {4}).copy_to_host(std::as_writable_bytes(std::span(back)));
  CHECK(back == std::array{0.0f, 10.0f, 11.0f, 3.0f});
}

TEST_CASE("rows with gaps keep their shape, and know how far apart they are") {
  CpuMemory memory;
  Tensor padded;
  {
    const Tensor whole = counted(memory, {4, 8});
    padded = whole.first_columns(5);
    CHECK(padded.rows_raw() == whole.raw());
  }
  CHECK(padded.has_gaps());
  CHECK(padded.shape() == Shape{4, 5});
  CHECK(padded.row_stride() == 8);
  CHECK(padded.elements() == 20);
  CHECK(padded.bytes() == 80);
  // What was taken counts, with the gaps.
  CHECK(memory.statistics().bytes_in_use >= 128);

  const Tensor last = padded.rows(2, 4);
  CHECK(last.shape() == Shape{2, 5});
  CHECK(last.row_stride() == 8);
  CHECK(static_cast<const float*>(last.rows_raw())[0] == 16.0f);
  CHECK(last.with_gaps().shape() == Shape{2, 8});
  CHECK(last.with_gaps().data<float>()[8] == 24.0f);
  CHECK(last.with_gaps().first_columns(3).row_stride() == 8);
  CHECK(padded.rows(4, 4).elements() == 0);
}

TEST_CASE("all columns are no gap") {
  CpuMemory memory;
  const Tensor tensor = counted(memory, {4, 3});
  CHECK(tensor.row_stride() == 3);
  CHECK(tensor.rows_raw() == tensor.raw());
  const Tensor all = tensor.first_columns(3);
  CHECK_FALSE(all.has_gaps());
  CHECK(all.data<float>() == tensor.data<float>());
  CHECK(all.with_gaps().shape() == tensor.shape());
  CHECK(tensor.first_columns(0).has_gaps());
}

TEST_CASE("rows with gaps are nowhere taken for contiguous") {
  CpuMemory memory;
  const Tensor padded = counted(memory, {4, 8}).first_columns(5);
  const auto refused = [](auto code) { return test::dies(code); };
  CHECK(refused([&] { padded.raw(); }));
  CHECK(refused([&] { padded.data<float>(); }));
  CHECK(refused([&] { padded.span<float>(); }));
  CHECK(refused([&] { padded.buffer(); }));
  CHECK(refused([&] { padded.slice(0, {1}); }));
  CHECK(refused([&] { padded.reshaped({20}); }));
  CHECK(refused([&] { padded.first_columns(2); }));
  CHECK(refused([&] { padded.rows(0, 1).raw(); }));
  std::array<std::byte, 80> host{};
  CHECK(refused([&] { padded.copy_to_host(host); }));
  CHECK(refused([&] { padded.copy_from_host(host); }));
  CHECK_FALSE(refused([&] { padded.with_gaps().raw(); }));
}

TEST_CASE("a tensor that no machine holds is refused with what was asked and what to do") {
  CpuMemory memory;
  const Tensor small(memory, {4}, DataType::f32);
  std::string message;
  try {
    const Tensor huge(memory, {std::int64_t{1} << 50}, DataType::f32);
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message.find(std::to_string(std::uint64_t{1} << 52)) != std::string::npos);
  CHECK(message.find("--micro-batch") != std::string::npos);
  // The refusal leaves the memory usable and its books right.
  const Memory::Statistics after = memory.statistics();
  CHECK(after.bytes_in_use == 256);
  CHECK(after.bytes_reserved == 256);
  CHECK(Tensor(memory, {1000}, DataType::f32).defined());
}

}  // namespace
}  // namespace train

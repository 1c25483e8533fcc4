#include "libtrain/parallel/gradient_reducer.hpp"

#include <thread>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "libtrain/tensor/cpu/cpu_memory.hpp"

using namespace train;

namespace {

using Parameters = std::vector<std::unique_ptr<Parameter>>;

Parameters make_parameters(CpuMemory& memory) {
  Parameters parameters;
  const std::pair<const char*, std::int64_t> sizes[] = {{"a", 100}, {"b", 7}, {"c", 200}, {"d", 3}};
  for (const auto& [name, size] : sizes) {
    auto parameter = std::make_unique<Parameter>(name, Shape{size}, Initializer::zeros());
    parameter->initialize(memory, DataType::f32, 1);
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

// Plays a backward op that writes `value` everywhere.
void write(Parameter& parameter, float value) {
  const Gradient target = parameter.gradient_target();
  for (float& x : target.tensor.span<float>()) {
    x = target.write == Write::add ? x + value : value;
  }
}

}  // namespace

TEST_CASE("every bucket is summed, once per step, after its last pass") {
  local::run(3, [](Communicator& ranks) {
    CpuMemory memory;
    const Parameters parameters = make_parameters(memory);
    GradientReducer reducer(parameters, ranks, memory, DataType::f32, 512);
    CHECK(reducer.bucket_count() == 3);
    for (int step = 0; step < 2; ++step) {
      reducer.begin_step(2);
      for (int pass = 0; pass < 2; ++pass) {
        for (std::size_t i = parameters.size(); i-- > 0;) {
          write(*parameters[i], static_cast<float>(ranks.rank() + 1));
          reducer.ready(*parameters[i]);
        }
      }
      reducer.finish();
      for (const auto& parameter : parameters) {
        for (const float x : parameter->gradient().span<float>()) CHECK(x == 2.0f * (1 + 2 + 3));
      }
    }
  });
}

TEST_CASE("a bucket sets out while the backward pass still runs") {
  local::run(2, [](Communicator& ranks) {
    CpuMemory memory;
    const Parameters parameters = make_parameters(memory);
    GradientReducer reducer(parameters, ranks, memory, DataType::f32, 512);
    reducer.begin_step(1);
    write(*parameters[3], 1.0f);
    reducer.ready(*parameters[3]);
    write(*parameters[2], 1.0f);
    reducer.ready(*parameters[2]);
    // Two buckets of three are whole although parameters are still missing: their sums arrive
    // without anyone waiting for the reducer.
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    while (reducer.buckets_summed() < 2 && Clock::now() < deadline) std::this_thread::yield();
    CHECK(reducer.buckets_summed() == 2);
    CHECK(parameters[2]->gradient().data<float>()[0] == 2.0f);
    for (std::size_t i : {1, 0}) {
      write(*parameters[i], 1.0f);
      reducer.ready(*parameters[i]);
    }
    reducer.finish();
  });
}

TEST_CASE("gradients lie apart, aligned, and are given back") {
  local::run(1, [](Communicator& ranks) {
    CpuMemory memory;
    const Parameters parameters = make_parameters(memory);
    {
      GradientReducer reducer(parameters, ranks, memory, DataType::f32, 1 << 20);
      CHECK(reducer.bucket_count() == 1);
      for (const auto& parameter : parameters) {
        CHECK(reinterpret_cast<std::uintptr_t>(parameter->gradient().raw()) % 64 == 0);
      }
      CHECK(reducer.gradient_bytes() >= 310 * 4);
    }
    CHECK_FALSE(parameters[0]->gradient().defined());
  });
}

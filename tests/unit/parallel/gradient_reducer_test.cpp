#include "libtrain/parallel/gradient_reducer.hpp"

#include <memory>
#include <thread>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"

using namespace train;

namespace {

/// Four vectors of a model without layers, and their buckets: d and c's come first.
struct Setup {
  explicit Setup(Communicator& ranks, Zero zero, std::size_t bucket_bytes = 512)
      : device(make_reference_device()), rank(ranks.rank()) {
    const std::pair<const char*, std::int64_t> sizes[] = {
        {"a", 100}, {"b", 7}, {"c", 200}, {"d", 3}};
    ParameterGroup group;
    for (const auto& [name, size] : sizes) {
      parameters.push_back(std::make_unique<Parameter>(name, Shape{size}, Initializer::zeros()));
      parameters.back()->initialize(device->memory(), DataType::f32, 1);
      group.push_back(parameters.back().get());
    }
    const BucketOptions options{
        .zero = zero, .data_ranks = ranks.size(), .bucket_bytes = bucket_bytes};
    buckets = make_buckets(std::span(&group, 1), 0, options);
    reducer = std::make_unique<GradientReducer>(buckets, zero, ranks, *device, DataType::f32);
  }

  // Plays a backward op that writes `value` everywhere.
  void write(std::size_t index, float value) {
    const Gradient target = parameters[index]->gradient_target();
    for (float& x : target.tensor.span<float>()) {
      x = target.write == Write::add ? x + value : value;
    }
    reducer->ready(*parameters[index]);
  }

  std::size_t gradient_bytes(MemoryUse use) const {
    return device->memory(use).statistics().bytes_in_use;
  }

  std::unique_ptr<Device> device;
  int rank;
  std::vector<std::unique_ptr<Parameter>> parameters;
  std::vector<Bucket> buckets;
  std::unique_ptr<GradientReducer> reducer;
};

void check_sums(Setup& setup, Zero zero, float expected) {
  for (std::size_t i = 0; i < setup.buckets.size(); ++i) {
    const Tensor gradient = setup.reducer->gradient(i);
    for (const auto& segment : setup.buckets[i].segments(zero == Zero::stage0 ? 0 : setup.rank)) {
      const Tensor part = gradient.slice(segment.in_shard, {segment.end - segment.begin});
      for (const float x : part.span<float>()) CHECK(x == expected);
    }
  }
}

}  // namespace

TEST_CASE("every bucket is summed over ranks and passes, at every stage") {
  for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3}) {
    CAPTURE(static_cast<int>(zero));
    local::run(3, [zero](Communicator& ranks) {
      Setup setup(ranks, zero);
      for (int step = 0; step < 2; ++step) {
        setup.reducer->begin_step(2);
        for (int pass = 0; pass < 2; ++pass) {
          for (std::size_t i = setup.parameters.size(); i-- > 0;) {
            setup.write(i, static_cast<float>(ranks.rank() + 1));
          }
        }
        setup.reducer->finish();
        check_sums(setup, zero, 2.0f * (1 + 2 + 3));
      }
    });
  }
}

TEST_CASE("of a step that was given up in the midst of a pass nothing comes into the next") {
  for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3}) {
    for (const int written : {1, 3, 5, 8}) {
      CAPTURE(static_cast<int>(zero));
      CAPTURE(written);
      local::run(3, [zero, written](Communicator& ranks) {
        Setup setup(ranks, zero);
        for (const int passes : {1, 2}) {
          setup.reducer->begin_step(passes);
          int left = written;
          for (int pass = 0; pass < passes; ++pass) {
            for (std::size_t i = setup.parameters.size(); i-- > 0 && left > 0; --left) {
              setup.write(i, 100.0f);
            }
          }
          setup.reducer->begin_step(1);
          for (std::size_t i = setup.parameters.size(); i-- > 0;) {
            setup.write(i, static_cast<float>(ranks.rank() + 1));
          }
          setup.reducer->finish();
          check_sums(setup, zero, 1 + 2 + 3);
        }
      });
    }
  }
}

TEST_CASE("a bucket sets out while the backward pass still runs") {
  local::run(2, [](Communicator& ranks) {
    Setup setup(ranks, Zero::stage0);
    REQUIRE(setup.buckets.size() == 3);
    setup.reducer->begin_step(1);
    setup.write(3, 1.0f);
    setup.write(2, 1.0f);
    // Two buckets of three are whole although parameters are still missing: their sums arrive
    // without anyone waiting for the reducer.
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    while (setup.reducer->buckets_summed() < 2 && Clock::now() < deadline) {
      std::this_thread::yield();
    }
    CHECK(setup.reducer->buckets_summed() == 2);
    CHECK(setup.parameters[2]->gradient().data<float>()[0] == 2.0f);
    for (std::size_t i : {1, 0}) setup.write(i, 1.0f);
    setup.reducer->finish();
  });
}

TEST_CASE("stage 2 keeps a shard and has a bucket's memory only while it fills and travels") {
  local::run(2, [](Communicator& ranks) {
    Setup setup(ranks, Zero::stage2);
    // Buckets of 16, 208 and 16 + 112 elements in lines of 16, and in as many lines on each rank.
    const std::size_t shards = 16 + 112 + 64;
    CHECK(setup.gradient_bytes(MemoryUse::gradients) == shards * 4);
    CHECK(setup.gradient_bytes(MemoryUse::communication) == 0);
    setup.reducer->begin_step(1);
    for (std::size_t i = setup.parameters.size(); i-- > 0;) setup.write(i, 1.0f);
    setup.reducer->finish();
    CHECK(setup.gradient_bytes(MemoryUse::communication) == 0);
    // Never more than the one that travels and the one that fills.
    CHECK(setup.device->memory(MemoryUse::communication).statistics().bytes_in_use_peak <=
          (224 + 128) * 4);
  });
}

TEST_CASE("gradients lie apart, aligned, and are given back") {
  local::run(1, [](Communicator& ranks) {
    Setup setup(ranks, Zero::stage0, 1 << 20);
    CHECK(setup.buckets.size() == 1);
    for (const auto& parameter : setup.parameters) {
      CHECK(reinterpret_cast<std::uintptr_t>(parameter->gradient().raw()) % 64 == 0);
    }
    CHECK(setup.gradient_bytes(MemoryUse::gradients) >= 310 * 4);
    setup.reducer.reset();
    CHECK_FALSE(setup.parameters[0]->gradient().defined());
    CHECK(setup.gradient_bytes(MemoryUse::gradients) == 0);
  });
}

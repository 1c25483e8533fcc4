// Tensor-parallel ranks of which one lets cuDNN sum in any order, and the other does not.
#include <map>

#include <doctest/doctest.h>

#include "collectives/local/world.hpp"
#include "tests/support/training.hpp"

using namespace train;

namespace {

using Bytes = std::vector<std::byte>;

// What both ranks hold: norms, and the rows of qkv that are the only key/value head's.
std::map<std::string, Bytes> copies_of(const Gpt& model) {
  std::map<std::string, Bytes> copies;
  for (const auto& parameter : model.parameters()) {
    const std::string& name = parameter->name();
    const Tensor& value = parameter->value();
    Bytes bytes(value.bytes());
    value.copy_to_host(bytes);
    const bool qkv = name.find(".qkv.") != std::string::npos;
    if (qkv)
      bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(bytes.size() / 3));
    if (qkv || name.find("norm") != std::string::npos) copies[name] = bytes;
  }
  return copies;
}

}  // namespace

TEST_CASE("ranks of other orders keep the same copies") {
  const auto config = [] {
    GptConfig llama =
        parse_model("llama,layers=2,heads=2,kv_heads=1,width=16,hidden=24,context=16");
    llama.vocabulary = 32;
    return llama;
  }();
  training::Run run = training::run_of(config, 8, 4);
  run.type = DataType::bf16;
  run.grid.tensor = 2;
  run.sequence_parallel = false;
  std::array<std::map<std::string, Bytes>, 2> copies;
  local::run(2, [&](Communicator& world) {
    const int rank = world.rank();
    training::Run own = run;
    own.device = [rank] {
      return make_cuda_device(rank, 1, rank == 0 ? SumOrder::any : SumOrder::fixed);
    };
    own.sample = [&copies, rank](Gpt& model, std::int64_t) {
      copies[static_cast<std::size_t>(rank)] = copies_of(model);
    };
    training::train_on(world, own);
  });
  CHECK(copies[0].size() == 2 * 3 + 1);
  for (const auto& [name, bytes] : copies[0]) {
    CAPTURE(name);
    CHECK(bytes == copies[1][name]);
  }
}

TEST_CASE("attention that every rank computes by itself takes no sums of any order") {
  local::run(2, [&](Communicator& world) {
    const auto parallelized = [&](SumOrder order, ParallelPlan plan) {
      const Grid grid(world, {.tensor = 2, .sum_order = order},
                      make_cuda_device(world.rank(), 1, order));
      Gpt model(training::tiny_gpt2(), grid.device());
      parallelize(model, grid, plan);
    };
    ParallelPlan replicated = megatron_plan();
    for (PlanRule& rule : replicated.rules) {
      if (rule.pattern.find("attention.") != std::string::npos) rule.split = Split::replicated;
    }
    parallelized(SumOrder::any, megatron_plan());
    parallelized(SumOrder::fixed, replicated);
    CHECK_THROWS_WITH_AS(parallelized(SumOrder::any, replicated),
                         doctest::Contains("layer blocks.0.attention.qkv is replicated"), Error);
  });
}

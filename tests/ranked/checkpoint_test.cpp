// Checkpoints: saved on one grid and loaded on another, whatever the ZeRO stage and the type.

#include <cstring>
#include <map>

#include <doctest/doctest.h>

#include "libtrain/agreement.hpp"
#include "libtrain/checkpoint/convert_values.hpp"
#include "libtrain/checkpoint/store.hpp"
#include "libtrain/checkpoint/training_state.hpp"
#include "libtrain/parallel/gather.hpp"
#include "libtrain/tensor/block_copy.hpp"
#include "tests/support/checkpoints.hpp"
#include "tests/support/ranked.hpp"

using namespace train;
using checkpoints::Case;
using checkpoints::SharedDirectory;
using checkpoints::Training;

namespace {

constexpr Zero stages[] = {Zero::stage0, Zero::stage1, Zero::stage3};
constexpr std::array<std::array<int, 2>, 7> grids{
    {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {3, 1}, {1, 3}, {4, 1}}};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const auto& [data, tensor] : grids) {
    for (const Zero zero : stages) cases.push_back({.data = data, .tensor = tensor, .zero = zero});
  }
  return cases;
}

// The ranks of the case, as a group of their own; the others get nullptr.
std::unique_ptr<Communicator> ranks_of(Communicator& world, const Case& of) {
  return world.split(world.rank() < of.data * of.tensor ? 0 : -1, world.rank(), "case");
}

using Whole = std::map<std::string, std::vector<std::byte>>;

// All tensors in whole, on every rank of the world.
Whole gathered(Communicator& world, Communicator* group, const Training* training) {
  Whole whole;
  if (group != nullptr) {
    for (const CheckpointPart& part : training_state(training->optimizer).parts) {
      for (const LogicalTensor& tensor : part.tensors) {
        whole[part.name + "/" + tensor.name] = gather(tensor, *group, 0);
      }
    }
  }
  std::string names;
  for (const auto& [name, bytes] : whole) names += name + "\n";
  names = first_said(world, names);
  while (!names.empty()) {
    auto& bytes = whole[names.substr(0, names.find('\n'))];
    names.erase(0, names.find('\n') + 1);
    auto count = static_cast<std::int64_t>(bytes.size());
    world.broadcast(std::span(&count, 1), 0).wait();
    bytes.resize(static_cast<std::size_t>(count));
    world.broadcast({bytes.data(), bytes.size(), DataType::u8}, 0).wait();
  }
  return whole;
}

// Tensors of this rank that are not bit for bit those of the whole copy.
std::size_t differing(const Training& training, const Whole& whole) {
  std::size_t count = 0;
  for (const CheckpointPart& part : training_state(training.optimizer).parts) {
    for (const LogicalTensor& tensor : part.tensors) {
      if (!tensor.local.defined()) continue;
      std::vector<std::byte> expected(tensor.local.bytes());
      std::vector<std::byte> found(tensor.local.bytes());
      tensor.local.copy_to_host(found);
      copy_from_whole(tensor.layout.shape(), size_of(tensor.type),
                      whole.at(part.name + "/" + tensor.name),
                      tensor.layout.blocks(training.grid.rank()), expected);
      if (found != expected) ++count;
    }
  }
  return count;
}

// Trains two steps on the ranks of the case, saves, and gives every rank a whole copy.
Whole save_on(Communicator& world, const Case& from, CheckpointStore& store) {
  const auto group = ranks_of(world, from);
  std::unique_ptr<Training> training;
  if (group != nullptr) {
    training = std::make_unique<Training>(*group, from);
    training->train(2);
    store.save(*group, training_state(training->optimizer));
  }
  world.barrier().wait();
  return gathered(world, group.get(), training.get());
}

std::size_t differing_when_loaded_on(Communicator& world, const Case& to, CheckpointStore& store,
                                     const Whole& whole) {
  const auto group = ranks_of(world, to);
  std::size_t count = 0;
  if (group != nullptr) {
    Training training(*group, to);
    CHECK(resume_training(store, *group, training.optimizer, {}) == "{}");
    count = differing(training, whole);
    CHECK(training.optimizer.steps_done() == 2);
  }
  world.barrier().wait();
  return count;
}

}  // namespace

TEST_CASE("what one grid saves any other loads, bit for bit, at each ZeRO stage") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    const auto cases = all_cases();
    for (std::size_t i = 0; i < cases.size(); ++i) {
      // One after another with both ways to lay out the bytes.
      CheckpointStore store(
          scratch / std::to_string(i),
          {.layout = i % 2 == 0 ? CheckpointLayout::sharded : CheckpointLayout::single});
      const Whole whole = save_on(world, cases[i], store);
      REQUIRE(whole.size() > 50);
      for (const Case& to : cases) {
        CAPTURE(cases[i].name());
        CAPTURE(to.name());
        CHECK(differing_when_loaded_on(world, to, store, whole) == 0);
      }
    }
  });
}

TEST_CASE("bf16 with full-precision copies moves between grids bit for bit") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    const Case cases[] = {
        {.data = 4, .tensor = 1, .zero = Zero::stage3, .type = DataType::bf16, .llama = true},
        {.data = 2, .tensor = 2, .zero = Zero::stage1, .type = DataType::bf16, .llama = true},
        {.data = 1, .tensor = 3, .zero = Zero::stage0, .type = DataType::bf16, .llama = true}};
    for (std::size_t i = 0; i < std::size(cases); ++i) {
      CheckpointStore store(scratch / std::to_string(i));
      const Whole whole = save_on(world, cases[i], store);
      for (const Case& to : cases) CHECK(differing_when_loaded_on(world, to, store, whole) == 0);
    }
  });
}

TEST_CASE("f32 comes from the full-precision copies of bf16, and they from f32") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    Case half{.data = 2, .tensor = 2, .zero = Zero::stage1, .type = DataType::bf16};
    Case full{.data = 1, .tensor = 3, .zero = Zero::stage0, .type = DataType::f32};
    CheckpointStore halves(scratch / "bf16"), wholes(scratch / "f32");
    Whole from_half = save_on(world, half, halves);
    Whole from_full = save_on(world, full, wholes);
    // What the other type should make of them.
    Whole as_full, as_half;
    for (const auto& [name, bytes] : from_full) {
      if (!name.starts_with("model/")) {
        as_half[name] = bytes;
        as_full[name] = from_half.at(name);
        continue;
      }
      const std::string master = "optimizer/" + name.substr(6) + ".master";
      as_full[name] = from_half.at(master);
      as_half[master] = bytes;
      as_half[name].resize(bytes.size() / 2);
      convert_values({bytes.data(), bytes.size() / 4, DataType::f32},
                     {as_half[name].data(), bytes.size() / 4, DataType::bf16});
    }
    CHECK(differing_when_loaded_on(world, full, halves, as_full) == 0);
    CHECK(differing_when_loaded_on(world, half, wholes, as_half) == 0);
  });
}

TEST_CASE("parameters alone load for fine-tuning") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    CheckpointStore store(scratch / "run");
    const Case grid{.data = world.size(), .type = DataType::bf16};
    const Whole whole = save_on(world, grid, store);
    Training training(world, grid);
    resume_training(store, world, training.optimizer, {}, LoadWhat::parameters);
    CHECK(training.optimizer.steps_done() == 0);
    // Parameters and their copies are the checkpoint's; a moment of each is still zero.
    const std::size_t moments = differing(training, whole);
    const std::size_t parameters = training_state(training.optimizer).parts[0].tensors.size();
    CHECK(moments == 2 * parameters);
  });
}

TEST_CASE("a rank reads what it needs, and each block is stored once") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    CheckpointStore store(scratch / "run");
    // Rows enough that pieces of 1 MiB are fine beside a rank's share.
    Tensor local;
    const std::int64_t rows = 1024 * 12, width = 1024;
    const std::vector<std::int64_t> counts = [&] {
      std::vector<std::int64_t> split(static_cast<std::size_t>(world.size()), rows / world.size());
      split.back() += rows % world.size();
      return split;
    }();
    const auto device = make_cpu_device(1);
    LogicalTensor tensor{"x", DataType::u8, Layout::replicated({rows, width}, world.size()), {}};
    tensor.local = Tensor(device->memory(), {rows * width}, DataType::u8);
    for (std::int64_t i = 0; i < rows * width; ++i) {
      tensor.local.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * 7 / 3);
    }
    store.save(world, {.step = 1, .parts = {{"model", {tensor}}}});

    CheckpointReader reader(store.list().at(0).directory);
    std::uint64_t bytes = 0;
    for (const auto& file : reader.manifest().files) bytes += file.bytes;
    CHECK(bytes < static_cast<std::uint64_t>(rows * width) + (1u << 20) * world.size());
    CHECK(reader.manifest().files.size() == static_cast<std::size_t>(world.size()));

    LogicalTensor part{"x", DataType::u8, Layout::split({rows, width}, 0, counts), {}};
    part.local = Tensor(device->memory(), {counts.back() * width}, DataType::u8);
    const int last = world.size() - 1;
    reader.load("model", part, last);
    const auto* begin = tensor.local.data<std::uint8_t>() + (rows - counts.back()) * width;
    CHECK(std::memcmp(part.local.raw(), begin, part.local.bytes()) == 0);
    CHECK(reader.bytes_read() <= part.local.bytes() + 2 * reader.manifest().piece_bytes);
  });
}

TEST_CASE("ranks that save different tensors, or another order of them, are told so") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    const SharedDirectory scratch(world);
    CheckpointStore store(scratch / "run");
    Training training(world, {.data = world.size()});
    const CheckpointContents good = training_state(training.optimizer);
    store.save(world, good);
    const auto refused = [&](const auto& change) {
      CheckpointContents contents = good;
      contents.step = 1;
      if (world.rank() == world.size() - 1) change(contents);
      CHECK_THROWS_WITH_AS(store.save(world, contents),
                           doctest::Contains("must be the same on all ranks"), Error);
      world.barrier().wait();
      CHECK(store.list().size() == 1);
    };
    refused([](CheckpointContents& contents) { contents.step = 2; });
    refused([](CheckpointContents& contents) { contents.parts.front().tensors.pop_back(); });
    refused(
        [](CheckpointContents& contents) { std::ranges::reverse(contents.parts.front().tensors); });
    refused([](CheckpointContents& contents) {
      contents.parts.front().tensors.front().name += "_of_another";
    });
  });
}

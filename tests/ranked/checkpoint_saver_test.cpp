// Saving in the background, and what happens when it fails.

#include <algorithm>

#include <doctest/doctest.h>

#include "libtrain/checkpoint/saver.hpp"
#include "libtrain/checkpoint/training_state.hpp"
#include "tests/support/checkpoints.hpp"
#include "tests/support/ranked.hpp"

using namespace train;
using checkpoints::SharedDirectory;
using checkpoints::Training;
using Kind = SaveEvent::Kind;

namespace fs = std::filesystem;

namespace {

// Which events came, by kind.
struct Events {
  std::vector<SaveEvent> all;

  CheckpointSaver::OnEvent keep() {
    return [this](const SaveEvent& event) { all.push_back(event); };
  }
  std::vector<std::int64_t> steps(Kind kind) const {
    std::vector<std::int64_t> found;
    for (const SaveEvent& event : all) {
      if (event.kind == kind) found.push_back(event.step);
    }
    return found;
  }
};

// A small state whose values tell the step.
CheckpointContents contents_at(std::int64_t step, Communicator& world, Device& device) {
  const Shape shape{100, 10};
  LogicalTensor tensor{"x", DataType::f32, Layout::replicated(shape, world.size()), {}};
  tensor.local = Tensor(device.memory(), {shape.elements()}, DataType::f32);
  std::ranges::fill(tensor.local.span<float>(), static_cast<float>(step));
  return {.step = step, .parts = {{"model", {tensor}}}};
}

float value_in(const fs::path& directory, Device& device) {
  CheckpointReader reader(directory);
  LogicalTensor tensor{"x", DataType::f32, Layout::replicated({100, 10}, 1), {}};
  tensor.local = Tensor(device.memory(), {1000}, DataType::f32);
  reader.load("model", tensor, 0);
  const auto values = tensor.local.span<float>();
  CHECK(std::ranges::count(values, values[0]) == 1000);
  return values[0];
}

}  // namespace

TEST_CASE("training goes on while its state is written, and what is written is the request's") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    Training training(world, {.data = world.size(), .zero = Zero::stage1});
    CheckpointStore store(scratch / "run", {.keep = 0});
    Events events;
    std::uint64_t expected = 0;
    {
      CheckpointSaver saver(store, world, events.keep());
      for (int step = 1; step <= 5; ++step) {
        training.train(step);
        saver.request(training_state(training.optimizer));
        // Changes the tensors while they are written.
        saver.before_change();
        training.train(step + 1);
        training.optimizer.resume_at(step);
      }
      saver.finish();
      for (const auto& part : training_state(training.optimizer).parts) {
        for (const auto& tensor : part.tensors) {
          expected += static_cast<std::uint64_t>(tensor.layout.shape().elements()) * 4;
        }
      }
    }
    CHECK(events.steps(Kind::requested) == std::vector<std::int64_t>{1, 2, 3, 4, 5});
    CHECK(events.steps(Kind::durable) == std::vector<std::int64_t>{1, 2, 3, 4, 5});
    CHECK(events.all.size() == 10);
    for (const SaveEvent& event : events.all) {
      if (event.kind == Kind::durable) CHECK(event.bytes == expected);
    }
    CHECK(store.list().size() == 5);
    for (const auto& entry : store.list()) {
      CheckpointReader reader(entry.directory);
      CHECK(reader.verify([](const std::string& bad) { FAIL_CHECK(bad); }) == 0);
      CHECK(reader.step() == entry.step);
    }
  });
}

TEST_CASE("each save holds the values that were there when it was requested") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    const auto device = make_cpu_device(1);
    CheckpointStore store(scratch / "run", {.keep = 0});
    CheckpointSaver saver(store, world, {});
    for (std::int64_t step = 1; step <= 20; ++step) {
      CheckpointContents contents = contents_at(step, world, *device);
      saver.request(contents);
      saver.before_change();
      std::ranges::fill(contents.parts[0].tensors[0].local.span<float>(), -1.0f);
    }
    saver.finish();
    world.barrier().wait();
    for (const auto& entry : store.list()) {
      CHECK(value_in(entry.directory, *device) == static_cast<float>(entry.step));
    }
    CHECK(saver.seconds_stalled() > 0.0);
  });
}

TEST_CASE("a failed save is told, costs nothing else, and three in a row end the run") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    const auto device = make_cpu_device(1);
    CheckpointStore store(scratch / "run");
    Events events;
    CheckpointSaver saver(store, world, events.keep());
    const auto save = [&](std::int64_t step) { saver.request(contents_at(step, world, *device)); };
    // Saves while the store's directory is gone.
    const auto fail_at = [&](std::int64_t step) {
      world.barrier().wait();
      if (world.rank() == 0) fs::rename(scratch / "run", scratch / "away");
      world.barrier().wait();
      save(step);
      CHECK_THROWS_AS(saver.finish(), Error);
      world.barrier().wait();
      if (world.rank() == 0) fs::rename(scratch / "away", scratch / "run");
      world.barrier().wait();
    };
    save(1);
    saver.finish();
    fail_at(2);
    fail_at(3);
    CHECK(events.steps(Kind::failed) == std::vector<std::int64_t>{2, 3});
    INFO(events.all.back().message);
    CHECK(events.all.back().message.find("step-00000003") != std::string::npos);
    CHECK(value_in(scratch / "run/latest", *device) == 1.0f);
    // One that goes well is a new start.
    save(4);
    saver.finish();
    CHECK(value_in(scratch / "run/latest", *device) == 4.0f);
    fail_at(5);
    fail_at(6);
    fail_at(7);
    const std::string message = test::message_of<Error>([&] { save(8); });
    CHECK(message.starts_with("3 checkpoints in a row"));
    CHECK(message.find("step-00000007") != std::string::npos);
    CHECK(value_in(scratch / "run/latest", *device) == 4.0f);
  });
}

TEST_CASE("contents that one rank cannot copy fail the save on all") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    const auto device = make_cpu_device(1);
    CheckpointStore store(scratch / "run");
    Events events;
    CheckpointSaver saver(store, world, events.keep());
    CheckpointContents contents = contents_at(1, world, *device);
    if (world.rank() == world.size() - 1) contents.extra = "not JSON";
    saver.request(contents);
    CHECK_THROWS_AS(saver.finish(), Error);
    CHECK(events.steps(Kind::failed) == std::vector<std::int64_t>{1});
    saver.request(contents_at(2, world, *device));
    saver.finish();
    CHECK(events.steps(Kind::durable) == std::vector<std::int64_t>{2});
  });
}

TEST_CASE("a rank that fails does not wait for a save that will never end") {
  ranked([](Communicator& world) {
    if (world.size() == 1) return;
    const SharedDirectory scratch(world);
    const auto device = make_cpu_device(1);
    CheckpointStore store(scratch / "run");
    const auto start = Clock::now();
    const auto fail = [&] {
      CheckpointSaver saver(store, world, {});
      // The last rank never asks for it.
      if (world.rank() < world.size() - 1) saver.request(contents_at(1, world, *device));
      throw Error("as planned");
    };
    CHECK_THROWS_WITH_AS(fail(), "as planned", Error);
    CHECK(Clock::now() - start < std::chrono::seconds(30));
    CHECK(store.list().empty());
  });
}

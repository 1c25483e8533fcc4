#include "libtrain/checkpoint/store.hpp"

#include <algorithm>
#include <csignal>

#include <doctest/doctest.h>
#include <sys/resource.h>

#include "collectives/error.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/checkpoint/small_checkpoints.hpp"

using namespace train;
using small_checkpoints::save;
using train::test::message_of;
using train::test::ScratchDirectory;

namespace fs = std::filesystem;

namespace {

std::vector<std::int64_t> steps_in(const fs::path& directory) {
  std::vector<std::int64_t> steps;
  for (const auto& entry : CheckpointStore(directory).list()) steps.push_back(entry.step);
  return steps;
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

std::string newest(const fs::path& directory) {
  const auto entries = CheckpointStore(directory).newest_first();
  return entries.empty() ? "" : entries.front().directory.filename().string();
}

bool loads(const fs::path& checkpoint) {
  CheckpointReader reader(checkpoint);
  return small_checkpoints::loads(reader);
}

// Lets this process write files of at most so many bytes, as a disk that runs full does.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : before_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &limit_);
    rlimit lower = limit_;
    lower.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &lower);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &limit_);
    std::signal(SIGXFSZ, before_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit limit_{};
  void (*before_)(int);
};

}  // namespace

TEST_CASE("checkpoints are named by step, and latest names the last") {
  const ScratchDirectory scratch;
  save(scratch.path(), {5, 1000});
  CHECK(names_in(scratch.path()) ==
        std::vector<std::string>{".lock", "latest", "step-00000005", "step-00001000"});
  CHECK(fs::read_symlink(scratch / "latest") == "step-00001000");
  CHECK(loads(scratch / "latest"));
  CHECK(loads(scratch / "step-00000005"));
  const CheckpointReader reader(scratch / "latest");
  CHECK(reader.step() == 1000);
  CHECK(reader.extra() == R"({"note":"as saved"})");
}

TEST_CASE("the last few stay, and every so many steps for ever") {
  const ScratchDirectory scratch;
  save(scratch.path(), {100, 150, 200, 250, 300, 350}, {.keep = 2, .keep_every = 100});
  CHECK(steps_in(scratch.path()) == std::vector<std::int64_t>{100, 200, 300, 350});
  save(scratch.path(), {400, 450}, {.keep = 0});
  CHECK(steps_in(scratch.path()).size() == 6);
  save(scratch.path(), {500}, {.keep = 1});
  CHECK(steps_in(scratch.path()) == std::vector<std::int64_t>{500});
  CHECK_THROWS_AS(CheckpointStore(scratch.path(), {.keep = -1}), Error);
  CHECK_THROWS_AS(CheckpointStore(scratch.path(), {.keep_every = -1}), Error);
}

TEST_CASE("a run that was rewound replaces what it comes by, and leaves what lies ahead") {
  const ScratchDirectory scratch;
  save(scratch.path(), {10, 20, 30}, {.keep = 0});
  save(scratch.path(), {15, 20}, {.keep = 1});
  CHECK(steps_in(scratch.path()) == std::vector<std::int64_t>{20, 30});
  CHECK(newest(scratch.path()) == "step-00000020");
  CHECK(names_in(scratch.path()).size() == 4);
  CHECK(loads(scratch / "step-00000020"));
  // Without the link, the highest step.
  fs::remove(scratch / "latest");
  CHECK(newest(scratch.path()) == "step-00000030");
}

TEST_CASE("a run that goes back sets aside what lies ahead, and holds what it went back to") {
  const ScratchDirectory scratch;
  save(scratch.path(), {10, 20, 30, 40}, {.keep = 0});
  fs::create_directory(scratch / "set-aside-1");
  local::run(2, [&](Communicator& world) {
    CheckpointStore store(scratch.path(), {.keep = 1});
    CHECK(store.set_aside_after(world, 20) == scratch / "set-aside-2");
    CHECK(store.set_aside_after(world, 20).empty());
    store.hold(20);
    const auto device = make_cpu_device(1);
    for (const std::int64_t step : {25, 30}) {
      store.save(world, small_checkpoints::contents_of(world.rank(), 2, step, *device));
    }
  });
  CHECK(steps_in(scratch.path()) == std::vector<std::int64_t>{20, 30});
  CHECK(newest(scratch.path()) == "step-00000030");
  CHECK(steps_in(scratch / "set-aside-2") == std::vector<std::int64_t>{30, 40});
  CHECK(loads(scratch / "set-aside-2/step-00000030"));
  CHECK(loads(scratch / "set-aside-2/step-00000040"));
  CHECK(fs::is_empty(scratch / "set-aside-1"));
}

TEST_CASE("a kill while checkpoints are set aside leaves a store that goes on") {
  const ScratchDirectory scratch;
  save(scratch.path(), {10, 20, 30, 40}, {.keep = 0});
  fs::create_directory(scratch / "set-aside-1");
  fs::rename(scratch / "step-00000040", scratch / "set-aside-1/step-00000040");
  CHECK(newest(scratch.path()) == "step-00000030");
  local::run(1, [&](Communicator& world) {
    CheckpointStore store(scratch.path());
    CHECK(store.set_aside_after(world, 10) == scratch / "set-aside-2");
  });
  CHECK(newest(scratch.path()) == "step-00000010");
  CHECK(fs::read_symlink(scratch / "latest") == "step-00000010");
}

TEST_CASE("a checkpoint is found by its step, or those that there are are told") {
  const ScratchDirectory scratch;
  CHECK(message_of<Error>([&] { CheckpointStore(scratch.path()).find(10); }).find("no other") !=
        std::string::npos);
  save(scratch.path(), {10, 20});
  const CheckpointStore store(scratch.path());
  CHECK(store.find(10).directory == scratch / "step-00000010");
  CHECK(message_of<Error>([&] { store.find(15); }).find("step 15; there are those of 10, 20") !=
        std::string::npos);
  CHECK(!step_of_checkpoint("step-10"));
  CHECK(step_of_checkpoint("step-00000010") == 10);
}

TEST_CASE("what a killed save leaves is no checkpoint, and the next save removes it") {
  const ScratchDirectory scratch;
  save(scratch.path(), {1, 2});
  fs::copy(scratch / "step-00000002", scratch / ".step-00000003.partial");
  fs::copy(scratch / "step-00000002", scratch / ".step-00000004.removing");
  fs::create_directory(scratch / "step-7");
  fs::create_directory(scratch / "others");
  CHECK(steps_in(scratch.path()) == std::vector<std::int64_t>{1, 2});
  // Killed between the two renames of a replacement.
  fs::rename(scratch / "step-00000002", scratch / ".step-00000002.replaced");
  CHECK(newest(scratch.path()) == ".step-00000002.replaced");
  CHECK(loads(CheckpointStore(scratch.path()).newest_first().front().directory));
  save(scratch.path(), {3});
  CHECK(names_in(scratch.path()) == std::vector<std::string>{".lock", "latest", "others",
                                                             "step-00000001", "step-00000002",
                                                             "step-00000003", "step-7"});
}

TEST_CASE("one job at a time saves into a directory") {
  const ScratchDirectory scratch;
  local::run(1, [&](Communicator& world) {
    CheckpointStore first(scratch.path());
    first.prepare(world);
    CheckpointStore second(scratch.path());
    const std::string message = message_of<Error>([&] { second.prepare(world); });
    CHECK(message.find("another job") != std::string::npos);
  });
}

TEST_CASE("a disk that runs full fails the save on every rank and leaves the one before") {
  const ScratchDirectory scratch;
  save(scratch.path(), {1});
  for (const rlim_t bytes : {100, 5'000, 300'000, 2'000'000}) {
    CAPTURE(bytes);
    const FileSizeLimit limit(bytes);
    local::run(2, [&](Communicator& world) {
      const auto device = make_cpu_device(1);
      CheckpointStore store(scratch.path());
      const std::string message = message_of<Error>(
          [&] { store.save(world, small_checkpoints::contents_of(world.rank(), 2, 2, *device)); });
      CHECK(message.find("step-00000002") != std::string::npos);
      CHECK(message.find("rank-0000") != std::string::npos);
    });
    CHECK(names_in(scratch.path()) == std::vector<std::string>{".lock", "latest", "step-00000001"});
  }
  CHECK(loads(scratch / "latest"));
  save(scratch.path(), {2});
  CHECK(loads(scratch / "latest"));
}

TEST_CASE("a directory that is gone, or no directory, fails the save and is named") {
  const ScratchDirectory scratch;
  local::run(1, [&](Communicator& world) {
    const auto device = make_cpu_device(1);
    const auto contents = small_checkpoints::contents_of(0, 1, 1, *device);
    CheckpointStore store(scratch / "run");
    store.prepare(world);
    fs::remove_all(scratch / "run");
    SaveGroup group(world);
    CheckpointSnapshot snapshot;
    snapshot.take(contents, 0);
    const std::string gone = message_of<Error>([&] { store.save(group, snapshot); });
    CHECK(gone.find((scratch / "run").string()) != std::string::npos);
    test::write_file(scratch / "file", "x");
    CheckpointStore on_file(scratch / "file/run");
    CHECK_THROWS_AS(on_file.save(world, contents), Error);
  });
}

TEST_CASE("a save that cannot become the latest leaves everything as it was") {
  const ScratchDirectory scratch;
  save(scratch.path(), {1, 2});
  // Nobody can rename a link to the name of a directory.
  fs::remove(scratch / "latest");
  fs::create_directory(scratch / "latest");
  const auto before = names_in(scratch.path());
  local::run(1, [&](Communicator& world) {
    const auto device = make_cpu_device(1);
    CheckpointStore store(scratch.path());
    for (const std::int64_t step : {2, 3}) {
      const auto message = message_of<Error>(
          [&] { store.save(world, small_checkpoints::contents_of(0, 1, step, *device)); });
      CHECK(message.find("latest") != std::string::npos);
    }
  });
  std::error_code ignored;
  fs::remove(scratch / ".latest.partial", ignored);
  CHECK(names_in(scratch.path()) == before);
  CHECK(loads(scratch / "step-00000001"));
  CHECK(loads(scratch / "step-00000002"));
}

TEST_CASE("more bytes than the disk has are refused beforehand, with the numbers") {
  const ScratchDirectory scratch;
  local::run(1, [&](Communicator& world) {
    // Huge by its shape alone: a scalar's worth of memory is enough to ask.
    const auto device = make_cpu_device(1);
    const std::int64_t rows = std::int64_t{1} << 46;
    const Shape shape{rows};
    Block own = whole_block({rows / 2}), other = own;
    other.offset[0] = rows / 2;
    // Rank 0 of three holds nothing.
    LogicalTensor tensor{"huge", DataType::f32, Layout(shape, {{}, {own}, {other}}), {}};
    SaveGroup group(world);
    CheckpointSnapshot snapshot;
    snapshot.take({.step = 1, .parts = {{"model", {tensor}}}}, 0);
    CheckpointStore store(scratch / "run");
    store.prepare(world);
    const std::string message = message_of<Error>([&] { store.save(group, snapshot); });
    CAPTURE(message);
    CHECK(message.find("262406.145 GiB") != std::string::npos);
    CHECK(message.find("free") != std::string::npos);
  });
}

TEST_CASE("contents that cannot be saved are refused by name") {
  const ScratchDirectory scratch;
  local::run(2, [&](Communicator& world) {
    const auto device = make_cpu_device(1);
    CheckpointStore store(scratch / "run");
    const auto complaint = [&](const auto& change) {
      auto contents = small_checkpoints::contents_of(world.rank(), 2, 1, *device);
      change(contents);
      return message_of<Error>([&] { store.save(world, contents); });
    };
    CHECK(complaint([](auto& of) { of.extra = "[1]"; }).find("JSON") != std::string::npos);
    CHECK(complaint([](auto& of) { of.parts[0].tensors[0].name = "a/b"; }).find("a/b") !=
          std::string::npos);
    CHECK(complaint([](auto& of) { of.parts[0].name = ".."; }).find("\"..\"") != std::string::npos);
    CHECK(complaint([](auto& of) {
            of.parts[0].tensors[2].layout = Layout({7, 3}, {{}, {}});
          }).find("bias") != std::string::npos);
    CHECK(names_in(scratch / "run") == std::vector<std::string>{".lock"});
  });
}

// A run that ends and goes on is the run that never ended: bit for bit on the same grid, up to
// rounding on another, and no sample is read twice or left out.

#include <algorithm>
#include <mutex>
#include <numeric>

#include <doctest/doctest.h>

#include "libtrain/checkpoint/training_checkpoints.hpp"
#include "tests/support/against_one_rank.hpp"
#include "tests/support/checkpoints.hpp"
#include "tests/support/ranked.hpp"

using namespace train;
using checkpoints::SharedDirectory;
using training::grids_of;
using training::Outcome;
using training::Run;

namespace {

// Of all runs here: a context of 8, and the token after it.
constexpr std::size_t sample_tokens = 9;

// Remembers where samples were read.
class RecordingSource final : public TokenSource {
 public:
  explicit RecordingSource(std::int32_t vocabulary) : pattern_(4000, vocabulary) {}

  std::uint64_t size() const override { return pattern_.size(); }
  std::int32_t vocabulary_bound() const override { return pattern_.vocabulary_bound(); }
  std::string name() const override { return pattern_.name(); }
  std::string place(std::uint64_t position) const override { return pattern_.place(position); }
  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    pattern_.read(begin, out);
    if (out.size() != sample_tokens) return;
    const std::lock_guard lock(mutex_);
    begins_.push_back(static_cast<std::int64_t>(begin));
  }
  std::vector<std::int64_t> begins() const { return begins_; }

 private:
  training::PatternSource pattern_;
  mutable std::mutex mutex_;
  mutable std::vector<std::int64_t> begins_;
};

// Trains to `stop_at`, from what is asked for if there is any, and saves every 5 steps.
struct Piece {
  Outcome outcome;
  std::vector<std::int64_t> begins;  // where this rank read
  std::vector<std::byte> state;      // what this rank holds at the end
};

Piece train_piece(Communicator& world, const Run& run, CheckpointStore& store, std::int64_t stop_at,
                  const ResumeRequest& from = {}) {
  Run part = run;
  part.trainer.stop_at = stop_at;
  const Grid grid(world, part.grid, make_cpu_device(1));
  const auto saved = find_resume_point(store, world, from);
  Gpt model(part.config, grid.device(), {part.type, saved ? saved->run.seed : 1, part.recompute});
  parallelize(model, grid, megatron_plan(part.sequence_parallel));
  ShardedOptimizer optimizer(model, grid, part.adamw, part.optimizer);
  const auto source = std::make_shared<RecordingSource>(part.config.vocabulary);
  TokenDataset data(source, {});
  Trainer trainer(grid, model, optimizer, data, part.trainer);
  TrainingCheckpoints checkpoints(
      store, world, optimizer, {.config = part.config, .tokenizer = nullptr, .seed = 1, .more = {}},
      5, {});
  if (saved && saved->checkpoint.empty()) {
    trainer.resume_at(checkpoints.resume({}).value().place);
  } else if (saved) {
    checkpoints.resume_from(*saved);
    trainer.resume_at(saved->run.place);
  }
  trainer.set_checkpoints(checkpoints);
  Piece piece;
  if (world.rank() == 0) {
    trainer.add_sink(std::make_unique<training::CollectingSink>(piece.outcome.records));
  }
  trainer.run();
  piece.begins = source->begins();
  for (const CheckpointPart& of : training_state(optimizer).parts) {
    for (const LogicalTensor& tensor : of.tensors) {
      if (!tensor.local.defined()) continue;
      const std::size_t at = piece.state.size();
      piece.state.resize(at + tensor.local.bytes());
      tensor.local.copy_to_host(std::span(piece.state).subspan(at));
    }
  }
  return piece;
}

Run run_with_everything(DataType type) {
  GptConfig config = training::tiny_llama();
  config.dropout = 0.2f;
  Run run = training::run_of(config, 20, 12);
  run.trainer.micro_batch = 1;
  run.type = type;
  run.recompute = Recompute::attention;
  return run;
}

}  // namespace

TEST_CASE("the same grid goes on bit for bit, with dropout and passes that add up") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    int next = 0;
    for (const DataType type : {DataType::f32, DataType::bf16}) {
      for (const GridOptions& grid : grids_of(world.size())) {
        for (const Zero zero : {Zero::stage0, Zero::stage2, Zero::stage3}) {
          CAPTURE(grid.tensor);
          CAPTURE(static_cast<int>(zero));
          Run run = run_with_everything(type);
          run.grid = grid;
          run.optimizer.zero = zero;
          CheckpointStore whole(scratch / std::to_string(next++));
          CheckpointStore parts(scratch / std::to_string(next++));
          const Piece through = train_piece(world, run, whole, 12);
          train_piece(world, run, parts, 5);
          const Piece rest = train_piece(world, run, parts, 12);
          CHECK(rest.state == through.state);
          if (world.rank() != 0) continue;
          REQUIRE(rest.outcome.records.size() == 7);
          for (std::size_t i = 0; i < 7; ++i) {
            CHECK(rest.outcome.records[i].loss == through.outcome.records[i + 5].loss);
            CHECK(rest.outcome.records[i].tokens == through.outcome.records[i + 5].tokens);
          }
        }
      }
    }
  });
}

TEST_CASE("from any step that was saved the run is the one that never ended, bit for bit") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    int next = 0;
    for (const DataType type : {DataType::f32, DataType::bf16}) {
      Run run = run_with_everything(type);
      run.grid = grids_of(world.size()).back();
      run.optimizer.zero = Zero::stage1;
      const auto directory = scratch / std::to_string(next++);
      CheckpointStore store(directory, {.keep = 0});
      const Piece through = train_piece(world, run, store, 20);
      // Back, and then a run of its own from there, which leaves the other as it is.
      const Piece again = train_piece(world, run, store, 20, {.from = "5"});
      CHECK(again.state == through.state);
      CHECK(store.list().size() == 4);
      CHECK(CheckpointStore(directory / "set-aside-1").list().size() == 3);
      CheckpointStore fork(scratch / std::to_string(next++));
      const std::string ten = (directory / "step-00000010").string();
      const Piece forked = train_piece(world, run, fork, 20, {.from = ten});
      CHECK(forked.state == through.state);
      CHECK(fork.list().size() == 2);
      if (world.rank() != 0) continue;
      REQUIRE(again.outcome.records.size() == 15);
      CHECK(again.outcome.records[0].step == 6);
      CHECK(again.outcome.records[0].loss == through.outcome.records[5].loss);
      CHECK(again.outcome.records[14].tokens == through.outcome.records[19].tokens);
    }
  });
}

TEST_CASE("a run goes back once, and on from there when its command is started again") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    const auto directory = scratch / "run";
    CheckpointStore store(directory, {.keep = 1, .keep_every = 5});
    const Run run = training::run_of(training::tiny_gpt2(), 30, 12);
    const auto point = [&](const std::string& from, bool or_newest) {
      return find_resume_point(store, world, {.from = from, .or_newest = or_newest}).value();
    };
    train_piece(world, run, store, 15);
    const std::string by_path = (directory / "step-00000010").string();
    for (const std::string& from : {std::string("10"), by_path}) {
      CHECK(point(from, true).checkpoint.filename() == "step-00000010");
      CHECK(point(from, true).own);
    }
    CHECK(point("", true).checkpoint.empty());
    train_piece(world, run, store, 12, {.from = "10", .or_newest = true});
    CHECK(point("10", true).checkpoint.empty());
    CHECK(point(by_path, true).checkpoint.empty());
    CHECK(point("10", true).run.resumed_from == ResumedFrom{10, ""});
    // Whoever does not go on with the newest, goes back again; and so does who names another.
    CHECK(point("10", false).step == 10);
    CHECK(point("5", true).step == 5);
    // The lives that follow know it, too.
    train_piece(world, run, store, 20, {.from = "10", .or_newest = true});
    CHECK(point("10", true).checkpoint.empty());
    CHECK(CheckpointStore(directory / "set-aside-1").list().size() == 1);

    CheckpointStore fork(scratch / "fork");
    const std::string latest = (directory / "latest").string();
    train_piece(world, run, fork, 22, {.from = latest, .or_newest = true});
    const auto again = find_resume_point(fork, world, {.from = latest, .or_newest = true});
    CHECK(again.value().checkpoint.empty());
    CHECK(again->run.resumed_from == ResumedFrom{20, directory.string()});
    CHECK_THROWS_AS(find_resume_point(fork, world, {.from = latest}), Error);
  });
}

TEST_CASE("a run that goes back and ends before its first step leaves all checkpoints in place") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    CheckpointStore store(scratch / "run");
    const Run run = training::run_of(training::tiny_gpt2(), 30, 12);
    train_piece(world, run, store, 15);
    train_piece(world, run, store, 10, {.from = "10"});
    CHECK(store.newest_first().front().step == 15);
    CHECK(!std::filesystem::exists(scratch / "run" / "set-aside-1"));
  });
}

TEST_CASE("a checkpoint that is asked for is loaded, or nothing is") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    const auto directory = scratch / "run";
    CheckpointStore store(directory);
    const Run run = training::run_of(training::tiny_gpt2(), 30, 12);
    train_piece(world, run, store, 15);
    if (world.rank() == 0) {
      for (const auto& entry : std::filesystem::directory_iterator(directory / "step-00000010")) {
        if (entry.path().extension() == ".h5") std::filesystem::resize_file(entry.path(), 100);
      }
    }
    world.barrier().wait();
    const auto complaint = [&](const ResumeRequest& from) {
      return test::message_of<Error>([&] { train_piece(world, run, store, 20, from); });
    };
    CHECK(complaint({.from = "10"}).find("step-00000010") != std::string::npos);
    CHECK(complaint({.from = "12"}).find("there are those of 5, 10, 15") != std::string::npos);
    CHECK(complaint({.from = directory.string()}).find("step-00000015") != std::string::npos);
    CHECK(complaint({.from = (scratch / "nothing").string()}).find("nothing") != std::string::npos);
    if (world.size() > 1) {
      CHECK(complaint({.from = world.rank() == 0 ? "5" : "10"}).find("not given the same") !=
            std::string::npos);
    }
    CHECK(store.list().size() == 3);
    CHECK(!std::filesystem::exists(directory / "set-aside-1"));
  });
}

TEST_CASE("another grid goes on with the same losses up to rounding") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    Run run = run_with_everything(DataType::f32);
    CheckpointStore whole(scratch / "whole");
    run.grid = {.data = world.size(), .tensor = 1};
    run.optimizer.zero = Zero::stage3;
    const Piece through = train_piece(world, run, whole, 20);
    int next = 0;
    for (const GridOptions& grid : grids_of(world.size())) {
      for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage3}) {
        CheckpointStore parts(scratch / std::to_string(next++));
        Run first = run;
        train_piece(world, first, parts, 9);
        Run second = run;
        second.grid = grid;
        second.optimizer.zero = zero;
        const Piece rest = train_piece(world, second, parts, 20);
        if (world.rank() != 0) continue;
        REQUIRE(rest.outcome.records.size() == 11);
        for (std::size_t i = 0; i < 11; ++i) {
          const double expected = through.outcome.records[i + 9].loss;
          CHECK(rest.outcome.records[i].loss == doctest::Approx(expected).epsilon(1e-4));
        }
      }
    }
  });
}

TEST_CASE("every sample is read once, though ranks and batch change") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    CheckpointStore store(scratch / "run");
    std::vector<std::int64_t> begins;
    std::int64_t sequences = 0;
    const auto go_on = [&](int ranks, std::int64_t batch, std::int64_t steps, std::int64_t stop) {
      const auto group = world.split(world.rank() < ranks ? 0 : -1, world.rank(), "part");
      sequences += batch * steps;
      if (group != nullptr) {
        Run run = training::run_of(training::tiny_gpt2(), 30, batch);
        run.optimizer.zero = Zero::stage1;
        const auto read = train_piece(*group, run, store, stop).begins;
        begins.insert(begins.end(), read.begin(), read.end());
      }
      world.barrier().wait();
    };
    go_on(world.size(), 6 * world.size(), 7, 7);
    go_on(1, 5, 10, 17);
    go_on(world.size(), 2 * world.size(), 13, 30);
    // All ranks' reads.
    std::vector<std::size_t> counts(static_cast<std::size_t>(world.size()), 0);
    std::vector<std::int64_t> each(counts.size()), own(counts.size());
    own[static_cast<std::size_t>(world.rank())] = static_cast<std::int64_t>(begins.size());
    world.all_reduce(std::span(own), std::span(each), ReduceOp::sum).wait();
    std::ranges::copy(each, counts.begin());
    std::vector<std::int64_t> all(static_cast<std::size_t>(sequences));
    REQUIRE(std::accumulate(each.begin(), each.end(), std::int64_t{0}) == sequences);
    world.all_gather(std::span(begins), std::span(all), counts).wait();
    // 4000 tokens make 499 samples of 8: less than two epochs.
    const std::int64_t samples = 3999 / 8;
    std::ranges::sort(all);
    std::size_t seen = 0;
    for (std::size_t i = 0; i < all.size();) {
      std::size_t times = 0;
      for (const std::int64_t begin = all[i]; i < all.size() && all[i] == begin; ++i) ++times;
      CHECK(times <= static_cast<std::size_t>((sequences + samples - 1) / samples));
      ++seen;
    }
    CHECK(seen == static_cast<std::size_t>(std::min(sequences, samples)));
  });
}

TEST_CASE("a job's checkpoints are of its exchanges, and hold the outer state") {
  ranked([](Communicator& world) {
    const SharedDirectory scratch(world);
    CheckpointStore store(scratch / "run");
    const Run run = training::run_of(training::tiny_gpt2(), 4, 12);
    // A lane per rank, as the outer optimizer keeps them: the last is shorter.
    const std::int64_t lane = 10, count = lane * world.size() - 3;
    std::vector<std::int64_t> counts(static_cast<std::size_t>(world.size()), lane);
    counts.back() -= 3;
    const auto device = make_cpu_device(1);
    std::int64_t step = 0;
    std::vector<float> loaded;
    std::vector<LogicalTensor> target;
    const auto outer = [&] {
      LogicalTensor tensor{"momentum", DataType::f32, Layout::split({count}, 0, counts), {}};
      const std::int64_t own = tensor.layout.local_elements(world.rank());
      tensor.local = Tensor(device->memory(), {own}, DataType::f32);
      const auto values = tensor.local.span<float>();
      std::iota(values.begin(), values.end(), static_cast<float>(world.rank() * lane + step));
      return std::vector{tensor};
    };
    const auto place_at = [](std::int64_t at) {
      return DataPlace{static_cast<std::uint64_t>(at * 12), static_cast<std::uint64_t>(at * 96)};
    };
    const JobState job{.step = [&] { return step; },
                       .place = [&] { return place_at(step); },
                       .tensors = outer,
                       .describe = [&] { return "{\"round\":" + std::to_string(step) + "}"; },
                       .tensors_to_load = [&] { return target = outer(); },
                       .resume =
                           [&](const std::string& described) {
                             CHECK(described == "{\"round\":4}");
                             const auto values = target.front().local.span<float>();
                             loaded.assign(values.begin(), values.end());
                           }};
    const Grid grid(world, {}, make_cpu_device(1));
    Gpt model(run.config, grid.device());
    ShardedOptimizer optimizer(model, grid, {});
    TrainingCheckpoints checkpoints(
        store, world, optimizer,
        {.config = run.config, .tokenizer = nullptr, .seed = 1, .more = {}}, 2, {});
    checkpoints.set_job(job);
    CHECK(!checkpoints.resume({}));
    // Nothing is due at 1, nothing is new the second time at 2 or at the end.
    for (const std::int64_t at : {1, 2, 2, 4}) {
      step = at;
      checkpoints.after_step({}, false);
      checkpoints.before_update();
    }
    checkpoints.after_step({}, true);
    checkpoints.finish();
    CHECK(store.newest_first().size() == 2);
    step = 0;
    CHECK(checkpoints.resume({}).value().place == place_at(4));
    CHECK(optimizer.steps_done() == 4);
    REQUIRE(!loaded.empty());
    for (std::size_t i = 0; i < loaded.size(); ++i) {
      CHECK(loaded[i] == static_cast<float>(world.rank() * lane + 4) + static_cast<float>(i));
    }
  });
}

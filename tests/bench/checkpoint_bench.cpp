// Saving and loading beside plain writes and reads of the same bytes on the same disk.
//
//   launch/mpirun_local 2 build/bin/checkpoint_bench --directory /tmp/bench --model gpt2-124m
//       [--rounds 5] [--dtype f32|bf16] [--zero 1] [--layout sharded|single] [--cache cold|warm]
//       [--load-zero Z] [--load-tensor T]
//
// First the rounds of saving: every rank writes as many bytes as it stores into a file of its own,
// 8 MiB at a time, and fsyncs (what `dd bs=8M conv=fsync` does); a blocking save; a save in the
// background, and how long it held training back. Then those of loading, of the last checkpoint:
// each rank reads its share of the checkpoint's own files, 8 MiB at a time (`dd bs=8M`); the same
// past the page cache (`iflag=direct`); a load, until parameters are shared out. Each of the three
// finds the page cache in the same state: the files dropped from it (cold), or all in it (warm);
// who comes first changes with the rounds. --load-… load into another grid or stage than was saved.
// Medians of the rounds; the ratio is that of each round. Figures are only as steady as the disk:
// look at the spread.

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "libtrain/checkpoint/saver.hpp"
#include "libtrain/checkpoint/training_state.hpp"
#include "libtrain/train.hpp"
#include "tests/bench/checkpoint_bench_files.hpp"
#include "tests/bench/flag_values.hpp"

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t tokens_per_pass = 128;

struct Options {
  fs::path directory;
  std::string model = "gpt2-124m";
  int rounds = 5;
  int zero = 1;
  int load_zero = -1;  // as saved
  int load_tensor = 1;
  train::DataType type = train::DataType::f32;
  bool cold = true;
  train::CheckpointLayout layout = train::CheckpointLayout::sharded;
};

void set(const std::string& flag, const std::string& value, Options& options) {
  using train::bench::whole_number;
  if (flag == "--directory") {
    options.directory = value;
  } else if (flag == "--model") {
    options.model = value;
  } else if (flag == "--rounds") {
    options.rounds = whole_number(flag, value);
  } else if (flag == "--zero") {
    options.zero = whole_number(flag, value, 0);
  } else if (flag == "--load-zero") {
    options.load_zero = whole_number(flag, value, 0);
  } else if (flag == "--load-tensor") {
    options.load_tensor = whole_number(flag, value);
  } else if (flag == "--dtype" && (value == "f32" || value == "bf16")) {
    options.type = value == "f32" ? train::DataType::f32 : train::DataType::bf16;
  } else if (flag == "--cache" && (value == "cold" || value == "warm")) {
    options.cold = value == "cold";
  } else if (flag == "--layout") {
    options.layout = train::checkpoint_layout_from(value);
  } else {
    throw train::Error(
        fmt::format("checkpoint_bench does not know {} {}; its source begins with a list of "
                    "options",
                    flag, value));
  }
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) set(argv[i], i + 1 < argc ? argv[i + 1] : "", options);
  if (options.directory.empty()) throw train::Error("checkpoint_bench needs --directory DIR");
  return options;
}

double max_over_ranks(train::Communicator& world, double value) {
  const std::span<double> place(&value, 1);
  world.all_reduce(place, place, train::ReduceOp::max).wait();
  return value;
}

// Seconds that `call` takes on the slowest rank, from a common start.
template <typename Call>
double seconds_together(train::Communicator& world, const Call& call) {
  world.barrier().wait();
  const auto start = std::chrono::steady_clock::now();
  call();
  return max_over_ranks(
      world, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Series {
  const char* name;
  std::vector<double> seconds = {};

  double median() const { return median_of(seconds); }
  void print(double bytes) const {
    const auto [least, most] = std::ranges::minmax(seconds);
    fmt::print("{:<44} {:8.3f} s ({:.3f} to {:.3f}) {:8.1f} MB/s\n", name, median(), least, most,
               bytes / median() / 1e6);
  }
};

// The median of a peer's seconds over ours, round by round, in percent.
double percent_of(const Series& peer, const Series& ours) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.seconds.size(); ++i) {
    ratios.push_back(100 * peer.seconds[i] / ours.seconds[i]);
  }
  return median_of(ratios);
}

// A model as it is trained on some grid.
struct Training {
  Training(train::Job& job, const Options& options, int tensor, int zero)
      : grid(job.grid({.tensor = tensor})),
        model(train::parse_model(options.model), grid.device(), {.type = options.type}),
        parallel((train::parallelize(model, grid, train::megatron_plan()), true)),
        optimizer(model, grid, {}, {.zero = train::zero_from(zero)}) {}

  train::Grid grid;
  train::Gpt model;
  bool parallel;
  train::ShardedOptimizer optimizer;
};

class Bench {
 public:
  Bench(train::Job& job, const Options& options)
      : options_(options),
        training_(job, options, 1, options.zero),
        store_(options.directory / "store", {.layout = options.layout, .keep = 1}),
        plain_file_(options.directory / fmt::format("plain-{}", world().rank())) {
    const int load_zero = options.load_zero < 0 ? options.zero : options.load_zero;
    if (load_zero == options.zero && options.load_tensor == 1) return;
    other_.emplace(job, options, options.load_tensor, load_zero);
  }

  void run() {
    train::create_parent_directories(plain_file_);
    {
      train::CheckpointSaver saver(store_, world(), {});
      for (int round = 0; round < options_.rounds; ++round) save_round(saver, round);
    }
    fs::remove(plain_file_);
    const train::bench::FileBytes files(store_.list().back().directory);
    for (int round = 0; round < options_.rounds; ++round) load_round(files, round);
    if (world().rank() == 0) report();
    world().barrier().wait();
    if (world().rank() == 0) fs::remove_all(options_.directory / "store");
  }

 private:
  train::Communicator& world() { return training_.grid.world(); }

  void save_round(train::CheckpointSaver& saver, int round) {
    train::SaveGroup group(world());
    train::ShardedOptimizer& optimizer = training_.optimizer;
    optimizer.resume_at(2 * round + 1);
    snapshot_.refer_to(train::training_state(optimizer), world().rank());
    plain_write_.seconds.push_back(seconds_together(
        world(), [&] { train::bench::write_plainly(plain_file_, snapshot_.bytes()); }));
    blocking_.seconds.push_back(seconds_together(world(), [&] { store_.save(group, snapshot_); }));
    optimizer.resume_at(2 * round + 2);
    const double stalled_before = saver.seconds_stalled();
    saver.request(train::training_state(optimizer));
    run_pass();
    saver.before_change();
    stall_.seconds.push_back(max_over_ranks(world(), saver.seconds_stalled() - stalled_before));
    saver.finish();
  }

  // What a step does between two changes of the state: a forward and a backward pass.
  void run_pass() {
    const std::vector<std::int32_t> tokens(static_cast<std::size_t>(tokens_per_pass), 1);
    train::Batch batch;
    batch.inputs = batch.targets = tokens;
    batch.sequences = 1;
    batch.context = tokens_per_pass;
    training_.model.loss(batch).backward();
  }

  void load_round(const train::bench::FileBytes& files, int round) {
    const int rank = world().rank(), ranks = world().size();
    for (std::size_t turn = 0; turn < 3; ++turn) {
      prepare_cache(files);
      switch ((turn + static_cast<std::size_t>(round)) % 3) {
        case 0:
          plain_read_.seconds.push_back(
              seconds_together(world(), [&] { files.read_part(rank, ranks, false); }));
          break;
        case 1:
          direct_read_.seconds.push_back(
              seconds_together(world(), [&] { files.read_part(rank, ranks, true); }));
          break;
        default:
          load_.seconds.push_back(seconds_together(world(), [&] { load(); }));
      }
    }
  }

  void prepare_cache(const train::bench::FileBytes& files) {
    if (world().rank() == 0) {
      if (options_.cold) {
        files.drop_from_cache();
      } else {
        files.read_part(0, 1, false);
      }
      cached_ = std::pair(std::min(cached_.first, files.cached()),
                          std::max(cached_.second, files.cached()));
    }
    world().barrier().wait();
  }

  void load() {
    train::resume_training(store_, world(), (other_ ? *other_ : training_).optimizer, {});
  }

  void report() {
    const auto bytes = static_cast<double>(snapshot_.bytes_total());
    fmt::print("{}, {} ranks, {}, ZeRO {}: {:.1f} MB of state; {} rounds\n", options_.model,
               world().size(), name_of(options_.type), options_.zero, bytes / 1e6, options_.rounds);
    for (const Series* series : {&plain_write_, &blocking_, &stall_}) series->print(bytes);
    fmt::print("loads{}; before each read {:.0f}% to {:.0f}% of the files are in the page cache\n",
               other_ ? fmt::format(" into data {} x tensor {}, ZeRO {}",
                                    other_->grid.data().size(), other_->grid.tensor().size(),
                                    static_cast<int>(other_->optimizer.zero()))
                      : "",
               100 * cached_.first, 100 * cached_.second);
    for (const Series* series : {&plain_read_, &direct_read_, &load_}) series->print(bytes);
    fmt::print(
        "saving reaches {:.0f}% of plain writes; a background save holds training back for {:.1f}% "
        "of a blocking one\nloading reaches {:.0f}% of plain reads, {:.0f}% of those past the "
        "cache\n",
        percent_of(plain_write_, blocking_), 100 * stall_.median() / blocking_.median(),
        percent_of(plain_read_, load_), percent_of(direct_read_, load_));
  }

  Options options_;
  Training training_;
  std::optional<Training> other_;
  train::CheckpointStore store_;
  fs::path plain_file_;
  train::CheckpointSnapshot snapshot_;
  std::pair<double, double> cached_{1.0, 0.0};
  Series plain_write_{"plain write and fsync"};
  Series blocking_{"blocking save"};
  Series stall_{"background save: training stands still"};
  Series plain_read_{"plain read"};
  Series direct_read_{"plain read past the page cache"};
  Series load_{"load"};
};

int checkpoint_bench(train::Job& job) {
  Bench(job, parse(job.argc(), job.argv())).run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return train::run(argc, argv, checkpoint_bench);
}

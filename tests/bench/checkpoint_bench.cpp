// Saving and loading beside plain writes and reads of the same bytes on the same disk.
//
//   launch/mpirun_local 2 build/bin/checkpoint_bench --directory /tmp/bench --model gpt2-124m
//
// Each round: every rank writes as many bytes as it stores into a file of its own, 8 MiB at a time,
// and fsyncs (what `dd bs=8M conv=fsync` does); a blocking save; a save in the background, and how
// long it held training back; a plain read of the same files and a load, both after the files left
// the page cache. Medians of the rounds. Figures are only as steady as the disk: look at the
// spread.

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>

#include <fcntl.h>
#include <fmt/format.h>

#include "libtrain/checkpoint/saver.hpp"
#include "libtrain/checkpoint/training_state.hpp"
#include "libtrain/train.hpp"

namespace {

namespace fs = std::filesystem;

constexpr std::size_t chunk_bytes = 8 << 20;
constexpr std::int64_t tokens_per_pass = 128;

struct Options {
  fs::path directory;
  std::string model = "gpt2-124m";
  int rounds = 5;
  int zero = 1;
  train::CheckpointLayout layout = train::CheckpointLayout::sharded;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--directory") options.directory = value;
    if (flag == "--model") options.model = value;
    if (flag == "--rounds") options.rounds = std::stoi(value);
    if (flag == "--zero") options.zero = std::stoi(value);
    if (flag == "--layout") options.layout = train::checkpoint_layout_from(value);
  }
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

void write_plainly(const fs::path& path, std::uint64_t bytes) {
  const std::vector<std::byte> chunk(chunk_bytes, std::byte{7});
  train::File file(path, train::File::Mode::truncate);
  for (std::uint64_t at = 0; at < bytes; at += chunk_bytes) {
    file.write_at(at, std::span(chunk).first(std::min<std::uint64_t>(chunk_bytes, bytes - at)));
  }
  file.sync();
}

void read_plainly(const fs::path& path) {
  const train::File file(path, train::File::Mode::read);
  std::vector<std::byte> buffer(chunk_bytes);
  const std::uint64_t size = file.size();
  for (std::uint64_t at = 0; at < size; at += chunk_bytes) {
    file.read_at(at, std::span(buffer).first(std::min<std::uint64_t>(chunk_bytes, size - at)));
  }
}

void drop_from_cache(const fs::path& path) {
  const train::File file(path, train::File::Mode::read);
  ::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
}

struct Series {
  const char* name;
  std::vector<double> seconds = {};

  double median() const {
    std::vector<double> sorted = seconds;
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
  }
  void print(double bytes) const {
    const auto [least, most] = std::ranges::minmax(seconds);
    fmt::print("{:<44} {:8.3f} s ({:.3f} to {:.3f}) {:8.1f} MB/s\n", name, median(), least, most,
               bytes / median() / 1e6);
  }
};

class Bench {
 public:
  Bench(train::Job& job, const Options& options)
      : options_(options),
        grid_(job.grid()),
        model_(train::parse_model(options.model), grid_.device()),
        optimizer_(model_, grid_, {}, {.zero = train::zero_from(options.zero)}),
        store_(options.directory / "store", {.layout = options.layout, .keep = 1}),
        plain_file_(options.directory / fmt::format("plain-{}", grid_.rank())) {}

  void run() {
    train::create_parent_directories(plain_file_);
    train::CheckpointSaver saver(store_, grid_.world(), {});
    for (int round = 0; round < options_.rounds; ++round) run_round(saver, round);
    if (grid_.rank() == 0) report();
    grid_.world().barrier().wait();
    fs::remove(plain_file_);
    if (grid_.rank() == 0) fs::remove_all(options_.directory / "store");
  }

 private:
  void run_round(train::CheckpointSaver& saver, int round) {
    train::Communicator& world = grid_.world();
    train::SaveGroup group(world);
    optimizer_.resume_at(2 * round + 1);
    snapshot_.refer_to(train::training_state(optimizer_), grid_.rank());
    plain_write_.seconds.push_back(
        seconds_together(world, [&] { write_plainly(plain_file_, snapshot_.bytes()); }));
    blocking_.seconds.push_back(seconds_together(world, [&] { store_.save(group, snapshot_); }));
    optimizer_.resume_at(2 * round + 2);
    const double stalled_before = saver.seconds_stalled();
    saver.request(train::training_state(optimizer_));
    run_pass();
    saver.before_change();
    stall_.seconds.push_back(max_over_ranks(world, saver.seconds_stalled() - stalled_before));
    saver.finish();

    drop_from_cache(plain_file_);
    plain_read_.seconds.push_back(seconds_together(world, [&] { read_plainly(plain_file_); }));
    if (grid_.rank() == 0) {
      for (const auto& entry : fs::directory_iterator(store_.list().back().directory)) {
        drop_from_cache(entry.path());
      }
    }
    load_.seconds.push_back(
        seconds_together(world, [&] { train::resume_training(store_, world, optimizer_, {}); }));
  }

  // What a step does between two changes of the state: a forward and a backward pass.
  void run_pass() {
    const std::vector<std::int32_t> tokens(static_cast<std::size_t>(tokens_per_pass), 1);
    train::Batch batch;
    batch.inputs = batch.targets = tokens;
    batch.sequences = 1;
    batch.context = tokens_per_pass;
    model_.loss(batch).backward();
  }

  void report() const {
    const auto bytes = static_cast<double>(snapshot_.bytes_total());
    fmt::print("{}, {} ranks, ZeRO {}: {:.1f} MB of state; {} rounds\n", options_.model,
               grid_.world().size(), options_.zero, bytes / 1e6, options_.rounds);
    for (const Series* series : {&plain_write_, &blocking_, &stall_, &plain_read_, &load_}) {
      series->print(bytes);
    }
    fmt::print(
        "saving reaches {:.0f}% of plain writes, loading {:.0f}% of plain reads; a "
        "background save holds training back for {:.1f}% of a blocking one\n",
        100 * plain_write_.median() / blocking_.median(),
        100 * plain_read_.median() / load_.median(), 100 * stall_.median() / blocking_.median());
  }

  Options options_;
  train::Grid grid_;
  train::Gpt model_;
  train::ShardedOptimizer optimizer_;
  train::CheckpointStore store_;
  fs::path plain_file_;
  train::CheckpointSnapshot snapshot_;
  Series plain_write_{"plain write and fsync"};
  Series blocking_{"blocking save"};
  Series stall_{"background save: training stands still"};
  Series plain_read_{"plain read"};
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

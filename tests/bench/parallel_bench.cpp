// What data parallelism, ZeRO stages, tensor and context parallelism send, cost and hide: a table
// with a line for each way to lay the ranks out, beside the volumes that the literature gives.
//
//   launch/mpirun_local 4 build/bin/parallel_bench            ranks that are processes
//   build/bin/parallel_bench --ranks 4                        ranks that are threads
//
// parallel_bench [--ranks N] [--model NAME] [--vocabulary N] [--sequences N] [--passes N]
//   [--steps N] [--dtype f32|bf16] [--recompute none|attention|block] [--bucket-kib N]
//   [--threads N] [--grid DATAxTENSOR|DATAxCONTEXTxTENSOR] [--zero STAGE] [--trace FILE]
//
// --trace draws two more steps of the table's last line, for https://ui.perfetto.dev.
//
// Columns, each the mean over the ranks and, where it says so, per step:
//   data, tensor   MB sent to other ranks, counted by the communicators of the two groups (of the
//                  data and the context group, where rows are shared by one), and by how much that
//                  differs from libtrain/forecast/traffic_forecast.hpp
//   units          of Ψ (n-1)/n for n data ranks, Ψ the f32 bytes of a rank's parameters; of
//                  M C (t-1)/t per layer for t tensor ranks and M rows of width C, embedding and
//                  head left out; of M C (n-1)/n² per layer for n context ranks
//   busy, waited   ms that collectives ran (late ranks' lateness is part of it), and of these ms
//                  during which training stood still; hidden = 1 - waited / busy, by group
//   state, peak    MiB that stay between steps (values, gradients, moments); that a pass adds

#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "collectives/local/world.hpp"
#include "collectives/standard_streams.hpp"
#include "libtrain/job.hpp"
#include "tests/bench/flag_values.hpp"
#include "tests/bench/parallel_bench_run.hpp"

namespace train::bench {
namespace {

std::string group_text(const GroupFigures& figures, int steps) {
  if (figures.expected == 0.0) return fmt::format("{:^50}", "-");
  const double per_step_ms = 1e3 / steps;
  return fmt::format("{:>9.3f}{:>8.2f}%{:>7.2f}{:>9.1f}{:>9.1f}{:>7.0f}%",
                     figures.bytes * 1e-6 / steps, 100.0 * (figures.bytes / figures.expected - 1.0),
                     (figures.bytes - figures.ends) / figures.unit, figures.busy_s * per_step_ms,
                     figures.waited_s * per_step_ms,
                     100.0 * (1.0 - figures.waited_s / figures.busy_s));
}

void print_head(Communicator& world, const Options& options, const Run& run) {
  const GptConfig& config = run.model().config();
  fmt::print(
      "{} ranks on {} cores; {}, vocabulary {}: {:.2f} M parameters, {}; {} tokens per pass "
      "and data rank, {} a step; recompute {}; buckets of {} KiB; {} steps after {}\n\n",
      world.size(), std::thread::hardware_concurrency(), options.model, config.vocabulary,
      static_cast<double>(config.parameter_count()) * 1e-6, name_of(options.type),
      options.sequences * config.context, options.passes, options.recompute_name,
      options.bucket_kib, options.steps, warm_up_steps);
  const std::string group = fmt::format("{:>9}{:>9}{:>7}{:>9}{:>9}{:>8}", "MB/step", "differs",
                                        "units", "busy ms", "waited", "hidden");
  fmt::print("{:<22}|{:^51}|{:^51}|\n", "", "data group", "tensor or context group");
  fmt::print("{:<6}{:<6}{:<10}|{} |{} |{:>9}{:>9}{:>9}\n", "grid", "zero", "rows", group, group,
             "ms/step", "state", "peak");
}

void print_line(const Arrangement& arrangement, const Options& options, const Figures& figures) {
  fmt::print("{:<6}{:<6}{:<10}|{} |{} |{:>9.1f}{:>9.2f}{:>9.2f}\n",
             arrangement.context == 1 ? fmt::format("{}x{}", arrangement.data, arrangement.tensor)
                                      : fmt::format("{}x{}x{}", arrangement.data,
                                                    arrangement.context, arrangement.tensor),
             static_cast<int>(arrangement.zero),
             arrangement.context > 1   ? "context"
             : arrangement.tensor == 1 ? ""
             : arrangement.split_rows  ? "split"
                                       : "whole",
             group_text(figures.data, options.steps), group_text(figures.inner, options.steps),
             figures.step_s * 1e3 / options.steps, figures.state_bytes / (1 << 20),
             figures.peak_bytes / (1 << 20));
  std::fflush(stdout);
}

// The grid's stages, with whole rows and split ones. ZeRO needs data ranks.
void add_arrangements(const GridShape& grid, const Options& options,
                      std::vector<Arrangement>& arrangements) {
  const bool alone = grid.data * grid.context == 1;
  for (const bool split_rows : {false, true}) {
    if (split_rows && grid.tensor == 1) continue;
    for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3}) {
      if (options.zero ? zero != *options.zero : alone && zero != Zero::stage0) continue;
      arrangements.push_back({grid.data, grid.context, grid.tensor, zero, split_rows});
    }
  }
}

// Data parallelism alone first, then beside context and tensor parallelism, which a line has one
// column for, so it has one of them.
std::vector<Arrangement> arrangements_of(int ranks, const Options& options) {
  std::vector<Arrangement> arrangements;
  for (const bool by_context : {false, true}) {
    for (int inner = 1; inner <= ranks; ++inner) {
      if (ranks % inner != 0 || (by_context && inner == 1)) continue;
      const GridShape grid{ranks / inner, by_context ? inner : 1, by_context ? 1 : inner};
      const bool wanted =
          !options.data || (*options.data == grid.data && options.context == grid.context &&
                            options.tensor == grid.tensor);
      if (wanted) add_arrangements(grid, options, arrangements);
    }
  }
  if (arrangements.empty()) {
    throw Error(
        fmt::format("--grid {}x{}x{} does not take {} ranks, or has context and tensor ranks",
                    options.data.value_or(0), options.context, options.tensor, ranks));
  }
  return arrangements;
}

void bench(Communicator& world, int ranks_on_node, const Options& options) {
  const std::vector<Arrangement> arrangements = arrangements_of(world.size(), options);
  for (std::size_t i = 0; i < arrangements.size(); ++i) {
    Run run(world, ranks_on_node, options, arrangements[i]);
    if (i == 0 && world.rank() == 0) print_head(world, options, run);
    const Figures figures = run.measure();
    if (world.rank() == 0) print_line(arrangements[i], options, figures);
    if (i + 1 == arrangements.size() && !options.trace_path.empty()) run.draw(options.trace_path);
  }
}

void set_grid(const std::string& value, Options& options) {
  const auto first = value.find('x'), last = value.rfind('x');
  if (first == std::string::npos) {
    throw Error(fmt::format("--grid {}: write DATAxTENSOR, as in 2x2", value));
  }
  options.data = whole_number("--grid", value.substr(0, first));
  options.tensor = whole_number("--grid", value.substr(last + 1));
  if (first == last) return;
  options.context = whole_number("--grid", value.substr(first + 1, last - first - 1));
}

void set(std::string_view name, const std::string& value, Options& options) {
  if (name == "--model") {
    options.model = value;
  } else if (name == "--trace") {
    options.trace_path = value;
  } else if (name == "--recompute") {
    options.recompute = recompute_from(value);
    options.recompute_name = value;
  } else if (name == "--grid") {
    set_grid(value, options);
  } else if (name == "--zero") {
    options.zero = zero_from(value == "0" ? 0 : whole_number(name, value));
  } else if (name == "--dtype" && (value == "f32" || value == "bf16")) {
    options.type = value == "f32" ? DataType::f32 : DataType::bf16;
  } else if (name == "--vocabulary") {
    options.vocabulary = whole_number(name, value);
  } else if (name == "--sequences") {
    options.sequences = whole_number(name, value);
  } else if (name == "--bucket-kib") {
    options.bucket_kib = static_cast<std::size_t>(whole_number(name, value));
  } else if (name == "--ranks") {
    options.ranks = whole_number(name, value);
  } else if (name == "--passes") {
    options.passes = whole_number(name, value);
  } else if (name == "--steps") {
    options.steps = whole_number(name, value);
  } else if (name == "--threads") {
    options.threads = whole_number(name, value);
  } else {
    throw Error(
        fmt::format("parallel_bench does not know {} {}; its source begins with a list of "
                    "options",
                    name, value));
  }
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) set(argv[i], i + 1 < argc ? argv[i + 1] : "", options);
  return options;
}

}  // namespace
}  // namespace train::bench

int main(int argc, char** argv) try {
  using namespace train;
  const bench::Options options = bench::parse(argc, argv);
  if (options.ranks > 0) {
    local::run(options.ranks,
               [&](Communicator& world) { bench::bench(world, world.size(), options); });
    return 0;
  }
  return run(argc, argv, [&](Job& job) {
    bench::bench(job.world(), job.ranks_on_node(), options);
    return 0;
  });
} catch (const train::Error& error) {
  train::log_line(fmt::format("error: {}", error.what()));
  return 1;
}

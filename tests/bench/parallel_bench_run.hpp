#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libtrain/optimizer/sharded_optimizer.hpp"

namespace train::bench {

inline constexpr int warm_up_steps = 2;

struct Options {
  int ranks = 0;  // threads of this process; 0: what mpirun started
  std::string model = "layers=4,heads=4,width=256,context=256";
  std::int64_t vocabulary = 512;
  std::int64_t sequences = 2;  // of a pass on a data rank
  int passes = 1;
  int steps = 5;
  DataType type = DataType::f32;
  Recompute recompute = Recompute::none;
  std::string recompute_name = "none";
  std::size_t bucket_kib = 1024;
  int threads = 0;
  std::optional<int> data;  // with the other two: one grid instead of all
  int context = 1;
  int tensor = 1;
  std::optional<Zero> zero;
  std::string trace_path;
};

// How the ranks are used: a line of the table.
struct Arrangement {
  int data = 1;
  int context = 1;
  int tensor = 1;
  Zero zero = Zero::stage0;
  bool split_rows = false;
};

// Of one group: bytes and seconds of all measured steps.
struct GroupFigures {
  double bytes = 0;
  double expected = 0;
  double unit = 0;  ///< bytes that make 1 in the column "in units"
  double ends = 0;  ///< of `expected`, what belongs to no layer
  double busy_s = 0;
  double waited_s = 0;
};

struct Figures {
  GroupFigures data;
  GroupFigures inner;  ///< tensor or context group
  double step_s = 0;
  double state_bytes = 0;
  double peak_bytes = 0;

  std::vector<double*> all() {
    std::vector<double*> found{&step_s, &state_bytes, &peak_bytes};
    for (GroupFigures* group : {&data, &inner}) {
      for (double* figure : {&group->bytes, &group->expected, &group->unit, &group->ends,
                             &group->busy_s, &group->waited_s}) {
        found.push_back(figure);
      }
    }
    return found;
  }
};

/// A model on one grid with its optimizer, which trains on random tokens.
class Run {
 public:
  /// Collective over `world`, as all else here.
  Run(Communicator& world, int ranks_on_node, const Options& options,
      const Arrangement& arrangement);

  /// Warms up, then measures `options.steps` steps; means over the ranks.
  Figures measure();
  /// Another two steps, as a trace.
  void draw(const std::string& path);

  const Gpt& model() const { return model_; }

 private:
  Gpt& split();
  std::int64_t rows() const { return options_.sequences * model_.config().context; }
  void draw_tokens();
  void step();
  void expect(Figures& figures) const;
  void weigh(Figures& figures) const;
  Figures mean_over_ranks(Figures figures) const;

  const Options& options_;
  Arrangement arrangement_;
  Grid grid_;
  Gpt model_;
  OptimizerOptions optimizer_options_;
  ShardedOptimizer optimizer_;
  std::vector<std::int32_t> tokens_;
};

}  // namespace train::bench

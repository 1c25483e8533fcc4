#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collectives/types.hpp"
#include "collectives/work.hpp"

namespace train::detail {

enum class Kind : std::uint8_t {
  all_reduce,
  reduce_scatter,
  all_gather,
  broadcast,
  all_to_all,
  barrier,
  split
};

/// "all_reduce", …
const char* name_of(Kind kind);

/// One collective call as this rank made it. Arguments were checked; counts were copied.
struct Operation {
  Kind kind = Kind::barrier;
  ReduceOp op = ReduceOp::sum;
  int root = 0;
  /// Counts the group's collectives from 0.
  std::uint64_t sequence = 0;
  Clock::time_point called = {};
  Deadline deadline = {};
  /// broadcast reads at the root and writes elsewhere: both name its buffer.
  ConstBuffer send = {};
  Buffer receive = {};
  /// Blocks of reduce_scatter and all_gather; all_to_all: what goes to each rank.
  std::vector<std::size_t> counts = {};
  /// all_to_all: what comes from each rank.
  std::vector<std::size_t> receive_counts = {};
  /// split only.
  int color = 0;
  int key = 0;
  std::string name = {};
};

}  // namespace train::detail

#include "libtrain/parallel/grid.hpp"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

namespace train {
namespace {

GridShape shape_of(const Communicator& world, const GridOptions& options) {
  if (options.data < 0 || options.tensor < 1) {
    throw Error(fmt::format("--data-parallel {} --tensor-parallel {}: both must be at least 1",
                            options.data, options.tensor));
  }
  return {options.data == 0 ? world.size() / options.tensor : options.data, options.tensor};
}

}  // namespace

Grid::Grid(Communicator& world, const GridOptions& options, std::unique_ptr<Device> device)
    : device_(std::move(device)), ranks_(world, shape_of(world, options)) {}

int threads_per_rank(const GridOptions& options, int ranks_on_node) {
  if (options.threads > 0) return options.threads;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, cores / std::max(1, ranks_on_node));
}

std::unique_ptr<Device> make_device(const GridOptions& options, int ranks_on_node) {
  if (options.device == "cpu") return make_cpu_device(threads_per_rank(options, ranks_on_node));
  throw Error(fmt::format("--device {}: this build has only cpu", options.device));
}

}  // namespace train

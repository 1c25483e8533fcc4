#include "libtrain/parallel/grid.hpp"

#include <algorithm>
#include <span>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "collectives/nccl/world.hpp"

namespace train {
namespace {

std::string other_flags(const GridOptions& options) {
  const std::string context =
      options.context == 1 ? "" : fmt::format("--context-parallel {} ", options.context);
  return fmt::format("{}--tensor-parallel {}", context, options.tensor);
}

GridShape shape_of(const Communicator& world, const GridOptions& options) {
  if (options.data < 0 || options.context < 1 || options.tensor < 1) {
    throw Error(fmt::format("--data-parallel {} {}: each must be at least 1", options.data,
                            other_flags(options)));
  }
  const auto others = std::int64_t{options.context} * options.tensor;
  if (options.data == 0 && world.size() % others != 0) {
    throw Error(fmt::format("{} needs a multiple of {} ranks, but there {} {}",
                            other_flags(options), others, world.size() == 1 ? "is" : "are",
                            world.size()));
  }
  const int data = options.data == 0 ? static_cast<int>(world.size() / others) : options.data;
  const auto sharing = std::int64_t{data} * options.context;
  if (options.shard < 0 || (options.shard > 0 && sharing % options.shard != 0)) {
    throw Error(
        fmt::format("--zero-ranks {} does not divide the {} data-parallel ranks{}: choose a "
                    "divisor, or 0 for all",
                    options.shard, sharing, options.context == 1 ? "" : " (context included)"));
  }
  return {data, options.context, options.tensor, options.shard};
}

std::vector<std::int32_t> all_threads(Communicator& world, int own) {
  const auto ranks = static_cast<std::size_t>(world.size());
  std::vector<std::int32_t> all(ranks);
  const std::vector<std::size_t> counts(ranks, 1);
  world.all_gather(std::span<const std::int32_t>(&own, 1), std::span(all), counts).wait();
  return all;
}

// All ranks see the same, and throw the same, before any group of theirs is made.
GridShape checked_shape(Communicator& world, const GridOptions& options, const Device& device) {
  const GridShape shape = shape_of(world, options);
  if (device.gpu() || shape.tensor == 1) return shape;
  const auto all = all_threads(world, device.host_threads());
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const std::size_t first = rank - rank % static_cast<std::size_t>(shape.tensor);
    if (all[rank] == all[first]) continue;
    throw Error(
        fmt::format("the ranks of a tensor group run equally many threads: rank {} has "
                    "--threads {}, rank {} has --threads {}",
                    rank, all[rank], first, all[first]));
  }
  return shape;
}

// A rank alone exchanges nothing, and needs no NCCL.
std::unique_ptr<Communicator> world_of_gpus(Communicator& world, const Device& device) {
  if (!device.gpu() || world.size() == 1) return nullptr;
  return nccl::make_communicator(
      world, {.device = device.gpu()->index, .compute_stream = device.gpu()->stream});
}

}  // namespace

Grid::Grid(Communicator& world, const GridOptions& options, std::unique_ptr<Device> device)
    : device_(std::move(device)),
      world_of_gpus_(world_of_gpus(world, *device_)),
      ranks_(world_of_gpus_ ? *world_of_gpus_ : world, checked_shape(world, options, *device_)),
      sum_order_(options.sum_order) {}

int threads_per_rank(const GridOptions& options, int ranks_on_node) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  // Each has a stack, and waits for all others many times a step.
  const int most = std::max(64, 8 * cores);
  if (options.threads < 0 || options.threads > most) {
    throw Error(fmt::format(
        "--threads {}: a rank runs 1 to {} of them on this machine of {} cores, or 0 for its share",
        options.threads, most, cores));
  }
  if (options.threads > 0) return options.threads;
  return std::max(1, cores / std::max(1, ranks_on_node));
}

int fewest_threads(Communicator& world, const GridOptions& options, int own) {
  const auto all = all_threads(world, own);
  const int tensor = std::max(1, options.tensor);
  const int first = world.rank() / tensor * tensor;
  const int count = std::min(tensor, world.size() - first);
  return std::ranges::min(
      std::span(all).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
}

void require_device_name(const std::string& name) {
  if (name == "cpu" || name == "cuda") return;
  throw Error(fmt::format("--device {}: devices are cpu and cuda", name));
}

std::unique_ptr<Device> make_device(const GridOptions& options, NodePlace place) {
  require_device_name(options.device);
  const int threads = threads_per_rank(options, place.ranks);
  if (options.device == "cpu") return make_cpu_device(threads);
  return make_cuda_device(choose_gpu(place, count_cuda_devices()), threads, options.sum_order);
}

// A launcher may have left each rank a GPU of its own, which every one of them counts as the first.
int choose_gpu(NodePlace place, int gpus) {
  invariant(gpus >= 1 && place.rank >= 0 && place.rank < place.ranks, "a rank has a place");
  return place.rank % gpus;
}

int ranks_before_on_gpu(NodePlace place, int gpus) {
  invariant(gpus >= 1 && place.rank >= 0, "a rank has a place");
  return place.rank / gpus;
}

std::vector<std::string> gpus_of_ranks(Communicator& world, const std::string& identity) {
  constexpr std::size_t width = 64;
  invariant(identity.size() <= width, "a GPU's identity is short");
  const auto ranks = static_cast<std::size_t>(world.size());
  std::string own = identity;
  own.resize(width);
  std::string all(ranks * width, '\0');
  const std::vector<std::size_t> counts(ranks, width);
  world
      .all_gather(ConstBuffer(own.data(), width, DataType::u8),
                  Buffer(all.data(), all.size(), DataType::u8), counts)
      .wait();
  std::vector<std::string> identities;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    identities.emplace_back(all.substr(rank * width, width).c_str());
  }
  return identities;
}

void require_own_gpus(Communicator& world, const std::string& identity) {
  const std::vector<std::string> gpus = gpus_of_ranks(world, identity);
  for (std::size_t a = 0; a < gpus.size(); ++a) {
    for (std::size_t b = a + 1; b < gpus.size(); ++b) {
      if (gpus[a] != gpus[b]) continue;
      throw Error(
          fmt::format("--device cuda: ranks {} and {} have the same GPU; start as many ranks on a "
                      "node as it has GPUs, see CUDA_VISIBLE_DEVICES, or let them share with "
                      "--share-gpu (slower)",
                      a, b));
    }
  }
}

}  // namespace train

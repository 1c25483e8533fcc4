#pragma once

#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "collectives/local/world.hpp"
#include "libtrain/checkpoint/store.hpp"
#include "libtrain/ops/device.hpp"
#include "libtrain/tensor/block_copy.hpp"

/// Checkpoints of a few tensors, for tests of what lies on the disk.
namespace small_checkpoints {

/// The value of element `index` of a tensor at a step.
inline float value_of(const std::string& name, std::int64_t step, std::int64_t index) {
  std::uint64_t word = static_cast<std::uint64_t>(step * 1'000'003 + index);
  for (const char c : name) word = word * 131 + static_cast<unsigned char>(c);
  word = (word ^ word >> 29) * 0xbf58476d1ce4e5b9u;
  return static_cast<float>(word >> 40);
}

/// What rank `rank` holds of a matrix f32.
inline train::LogicalTensor tensor_of(const std::string& name, const train::Layout& layout,
                                      int rank, std::int64_t step, train::Device& device) {
  train::LogicalTensor tensor{name, train::DataType::f32, layout, {}};
  if (layout.local_elements(rank) == 0) return tensor;
  tensor.local =
      train::Tensor(device.memory(), {layout.local_elements(rank)}, train::DataType::f32);
  float* next = tensor.local.data<float>();
  for (const train::Block& block : layout.blocks(rank)) {
    train::for_each_run(layout.shape(), block, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t i = first; i < first + count; ++i) *next++ = value_of(name, step, i);
    });
  }
  return tensor;
}

/// Split rows, split columns and a copy on each rank, in two parts; 5 MiB.
inline train::CheckpointContents contents_of(int rank, int ranks, std::int64_t step,
                                             train::Device& device) {
  using train::Layout;
  const train::Shape rows{1201, 512}, columns{64, 66}, bias{7, 3};
  std::vector<std::int64_t> row_counts(static_cast<std::size_t>(ranks), rows[0] / ranks);
  row_counts[0] += rows[0] % ranks;
  std::vector<std::int64_t> column_counts(static_cast<std::size_t>(ranks), columns[1] / ranks);
  column_counts[0] += columns[1] % ranks;
  const auto make = [&](const char* name, const Layout& layout) {
    return tensor_of(name, layout, rank, step, device);
  };
  train::CheckpointContents contents;
  contents.step = step;
  contents.extra = R"({"note": "as saved"})";
  contents.parts = {{"model",
                     {make("rows", Layout::split(rows, 0, row_counts)),
                      make("columns", Layout::split(columns, 1, column_counts)),
                      make("bias", Layout::replicated(bias, ranks))}},
                    {"optimizer", {make("rows.m", Layout::split(rows, 0, row_counts))}}};
  return contents;
}

/// Saves steps on two ranks that are threads.
inline void save(const std::filesystem::path& directory, std::vector<std::int64_t> steps,
                 train::StoreOptions options = {}) {
  std::vector<std::unique_ptr<train::CheckpointStore>> stores;
  for (int i = 0; i < 2; ++i) {
    stores.push_back(std::make_unique<train::CheckpointStore>(directory, options));
  }
  train::local::run(2, [&](train::Communicator& world) {
    const auto device = train::make_cpu_device(1);
    for (const std::int64_t step : steps) {
      stores[static_cast<std::size_t>(world.rank())]->save(
          world, contents_of(world.rank(), world.size(), step, *device));
    }
  });
}

/// Loads everything on one rank; true when all values are those of the step. Throws Error when the
/// checkpoint is damaged.
inline bool loads(train::CheckpointReader& reader) {
  const auto device = train::make_cpu_device(1);
  const auto expected = contents_of(0, 1, reader.step(), *device);
  bool same = true;
  for (const train::CheckpointPart& part : expected.parts) {
    for (const train::LogicalTensor& tensor : part.tensors) {
      train::LogicalTensor found = tensor;
      found.local = train::Tensor(device->memory(), {tensor.local.elements()}, tensor.type);
      reader.load(part.name, found, 0);
      same = same && std::memcmp(found.local.raw(), tensor.local.raw(), found.local.bytes()) == 0;
    }
  }
  return same;
}

}  // namespace small_checkpoints

#include "libtrain/checkpoint/shard_writer.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/file.hpp"
#include "libtrain/checkpoint/hdf5/shard_file.hpp"
#include "libtrain/checkpoint/manifest_check.hpp"

namespace train {
namespace {

// The disk begins while the rest is copied and hashed.
constexpr std::uint64_t writeback_bytes = 8 << 20;

// Of one file: what is stored in it, and by whom.
struct PlannedBlock {
  std::size_t tensor;
  std::size_t block;  ///< index among the tensor's
  int rank;
};
struct PlannedFile {
  std::string name;
  int creator;
  std::vector<PlannedBlock> blocks;
};

class ShardWriter {
 public:
  ShardWriter(SaveGroup& group, std::filesystem::path directory, const CheckpointSnapshot& snapshot,
              CheckpointLayout layout)
      : group_(group), directory_(std::move(directory)), snapshot_(snapshot) {
    plan(layout);
  }

  Manifest write() {
    group_.together([&] { create_files(); });
    share_places();
    group_.together([&] { write_blocks(); });
    const auto all = group_.all_gather(words_, word_counts());
    return group_.rank() == 0 ? manifest(all) : Manifest();
  }

 private:
  void plan(CheckpointLayout layout);
  void create_files();
  void share_places();
  void create_file(std::size_t index);
  void write_blocks();
  void write_block(File& file, std::uint64_t at, std::size_t own);
  std::vector<std::size_t> word_counts() const;
  Manifest manifest(std::span<const std::int64_t> all) const;
  ShardDataset dataset_of(const PlannedBlock& planned) const;
  std::uint64_t bytes_of(const PlannedBlock& planned) const {
    const auto& tensor = snapshot_.tensors()[planned.tensor];
    return tensor.bytes_of(tensor.blocks[planned.block]);
  }

  SaveGroup& group_;
  std::filesystem::path directory_;
  const CheckpointSnapshot& snapshot_;
  std::vector<PlannedFile> files_;
  std::vector<std::vector<std::int64_t>> at_;  // by file and block; known for files written here
  // What rank 0 must know of this rank: size and hash of the bookkeeping of the file that it
  // created, then place and hashes of each block.
  std::vector<std::int64_t> words_ = {0, 0};
};

void ShardWriter::plan(CheckpointLayout layout) {
  const bool single = layout == CheckpointLayout::single;
  std::vector<PlannedFile> by_rank(single ? 1 : static_cast<std::size_t>(group_.size()));
  const auto& tensors = snapshot_.tensors();
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    for (std::size_t b = 0; b < tensors[t].blocks.size(); ++b) {
      const int rank = tensors[t].blocks[b].rank;
      by_rank[single ? 0 : static_cast<std::size_t>(rank)].blocks.push_back({t, b, rank});
    }
  }
  for (std::size_t i = 0; i < by_rank.size(); ++i) {
    if (by_rank[i].blocks.empty()) continue;
    by_rank[i].creator = static_cast<int>(i);
    by_rank[i].name = single ? "tensors.h5" : fmt::format("rank-{:05}.h5", i);
    files_.push_back(std::move(by_rank[i]));
  }
  at_.resize(files_.size());
}

ShardDataset ShardWriter::dataset_of(const PlannedBlock& planned) const {
  const auto& tensor = snapshot_.tensors()[planned.tensor];
  return {.name = fmt::format("/{}/{}/{}", tensor.part, tensor.name, planned.block),
          .type = tensor.type,
          .tensor = tensor.layout.shape(),
          .block = tensor.blocks[planned.block].block};
}

void ShardWriter::create_files() {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    at_[i].resize(files_[i].blocks.size());
    if (files_[i].creator == group_.rank()) create_file(i);
  }
}

// Everything but the datasets' bytes.
void ShardWriter::create_file(std::size_t index) {
  std::vector<ShardDataset> datasets;
  for (const PlannedBlock& planned : files_[index].blocks) datasets.push_back(dataset_of(planned));
  const std::filesystem::path path = directory_ / files_[index].name;
  const FileImage image = create_shard(path, datasets);
  std::vector<std::array<std::uint64_t, 2>> blocks;
  for (std::size_t b = 0; b < datasets.size(); ++b) {
    at_[index][b] = static_cast<std::int64_t>(datasets[b].at);
    blocks.push_back({datasets[b].at, datasets[b].at + datasets[b].bytes()});
  }
  File file(path, File::Mode::truncate);
  file.resize(image.size());
  RunningHash hash;
  for_each_part(gaps_between(std::move(blocks), image.size()), [&](auto begin, auto bytes) {
    image.read(begin, bytes);
    hash.add(bytes);
    file.write_at(begin, bytes);
  });
  file.close();  // write_blocks() waits for the disk
  words_ = {static_cast<std::int64_t>(image.size()), static_cast<std::int64_t>(hash.value())};
}

// Of a file that several ranks write, the one that created it knows the places.
void ShardWriter::share_places() {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const bool shared = std::ranges::any_of(
        files_[i].blocks, [&](const auto& planned) { return planned.rank != files_[i].creator; });
    if (shared) group_.broadcast(at_[i], files_[i].creator);
  }
}

void ShardWriter::write_blocks() {
  std::size_t own = 0;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    File file;
    for (std::size_t b = 0; b < files_[i].blocks.size(); ++b) {
      if (files_[i].blocks[b].rank != group_.rank()) continue;
      if (!file.is_open()) file = File(directory_ / files_[i].name, File::Mode::update);
      words_.push_back(at_[i][b]);
      write_block(file, static_cast<std::uint64_t>(at_[i][b]), own++);
    }
    if (!file.is_open()) continue;
    file.sync();
    file.close();
  }
  // The names of new files are durable once their directory is.
  if (own > 0) File(directory_, File::Mode::read).sync();
}

void ShardWriter::write_block(File& file, std::uint64_t at, std::size_t own) {
  std::uint64_t waiting = 0;
  snapshot_.read(own, [&](std::span<const std::byte> bytes, std::uint64_t hash) {
    file.write_at(at, bytes);
    words_.push_back(static_cast<std::int64_t>(hash));
    at += bytes.size();
    waiting += bytes.size();
    if (waiting < writeback_bytes) return;
    file.begin_writeback(at - waiting, waiting);
    waiting = 0;
  });
  if (waiting > 0) file.begin_writeback(at - waiting, waiting);
}

std::vector<std::size_t> ShardWriter::word_counts() const {
  std::vector<std::size_t> counts(static_cast<std::size_t>(group_.size()), 2);
  for (const PlannedFile& file : files_) {
    for (const PlannedBlock& planned : file.blocks) {
      counts[static_cast<std::size_t>(planned.rank)] +=
          1 + pieces_of(bytes_of(planned), snapshot_piece_bytes);
    }
  }
  return counts;
}

Manifest ShardWriter::manifest(std::span<const std::int64_t> all) const {
  Manifest made;
  made.step = snapshot_.step();
  made.piece_bytes = snapshot_piece_bytes;
  made.extra = snapshot_.extra();
  for (const auto& tensor : snapshot_.tensors()) {
    made.tensors.push_back({tensor.part, tensor.name, tensor.type, tensor.layout.shape(), {}});
    made.tensors.back().blocks.resize(tensor.blocks.size());
  }
  std::vector<std::size_t> next(1, 0);  // by rank: its next word
  for (const std::size_t count : word_counts()) next.push_back(next.back() + count);
  const auto take = [&](int rank) {
    return static_cast<std::uint64_t>(all[next[static_cast<std::size_t>(rank)]++]);
  };
  std::vector<std::array<std::uint64_t, 2>> created;
  for (int rank = 0; rank < group_.size(); ++rank) {
    const std::uint64_t bytes = take(rank);
    created.push_back({bytes, take(rank)});
  }
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const auto& [bytes, hash] = created[static_cast<std::size_t>(files_[i].creator)];
    made.files.push_back({files_[i].name, bytes, hash});
    for (const PlannedBlock& planned : files_[i].blocks) {
      const ShardDataset dataset = dataset_of(planned);
      auto& stored = made.tensors[planned.tensor].blocks[planned.block];
      stored = {dataset.block, i, dataset.name, take(planned.rank), {}};
      stored.hashes.resize(pieces_of(dataset.bytes(), made.piece_bytes));
      for (std::uint64_t& hash_of_piece : stored.hashes) hash_of_piece = take(planned.rank);
    }
  }
  return made;
}

}  // namespace

CheckpointLayout checkpoint_layout_from(const std::string& name) {
  if (name == "sharded") return CheckpointLayout::sharded;
  if (name == "single") return CheckpointLayout::single;
  throw Error(fmt::format("--checkpoint-layout {}: known are sharded and single", name));
}

Manifest write_shards(SaveGroup& group, const std::filesystem::path& directory,
                      const CheckpointSnapshot& snapshot, CheckpointLayout layout) {
  return ShardWriter(group, directory, snapshot, layout).write();
}

}  // namespace train

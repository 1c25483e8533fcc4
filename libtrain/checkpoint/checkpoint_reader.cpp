#include "libtrain/checkpoint/checkpoint_reader.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/convert_values.hpp"
#include "libtrain/checkpoint/hdf5/shard_file.hpp"
#include "libtrain/checkpoint/manifest_check.hpp"
#include "libtrain/checkpoint/read_ahead.hpp"
#include "libtrain/checkpoint/read_plan.hpp"

namespace train {
namespace {

constexpr std::uint64_t part_bytes_max = std::uint64_t{1} << 20;

Manifest read_manifest(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / Manifest::file_name;
  const File file(path, File::Mode::read);
  std::string text(file.size(), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  return Manifest::from_text(text, path);
}

// visit(begin, bytes) for these stretches of a file, in order, in parts. Past the page cache: read
// through it, bits that lie far apart would each bring megabytes along.
template <typename Visit>
void read_stretches(const DirectFile& file, std::vector<std::array<std::uint64_t, 2>> stretches,
                    const Visit& visit) {
  ReadAhead ahead;
  std::deque<std::uint64_t> asked;  // where they begin
  for (auto next = stretches.begin(); next != stretches.end() || !asked.empty();) {
    while (next != stretches.end()) {
      auto& [begin, end] = *next;
      const std::uint64_t bytes = std::min(end - begin, part_bytes_max);
      if (!ahead.ask(file, begin, bytes, DirectFile::Through::memory)) break;
      asked.push_back(begin);
      begin += bytes;
      if (begin == end) ++next;
    }
    visit(asked.front(), ahead.take());
    asked.pop_front();
  }
}

// Whether several ranks hold the values.
bool is_replicated(const Layout& layout) {
  std::int64_t elements = 0;
  for (int rank = 0; rank < layout.ranks(); ++rank) elements += layout.local_elements(rank);
  return elements > layout.shape().elements();
}

}  // namespace

// Blocks of one tensor, and who takes their bytes.
struct CheckpointReader::Reading {
  const Manifest::StoredTensor* tensor;
  std::span<const Block> blocks;
  Take take;
  DirectFile::Through through = DirectFile::Through::memory;
};

struct CheckpointReader::Piece {
  const Reading* reading;
  const Manifest::StoredBlock* stored;
  PieceToRead plan;
  std::uint64_t at, bytes;  // in the file
  DirectFile::Through through;
};

// The pieces of all readings, in order, found out block by block.
class CheckpointReader::Plan {
 public:
  // Of all blocks, or of those that are picked.
  using Pick = std::function<bool(const Manifest::StoredBlock&)>;
  Plan(std::span<const Reading> readings, std::uint64_t piece_bytes, Pick pick = {})
      : readings_(readings), piece_bytes_(piece_bytes), pick_(std::move(pick)) {}

  // nullptr behind the last.
  Piece* next() {
    while (planned_.empty() && reading_ < readings_.size()) plan_block();
    return planned_.empty() ? nullptr : &planned_.front();
  }
  void pop() { planned_.pop_front(); }

 private:
  void plan_block();

  std::span<const Reading> readings_;
  std::uint64_t piece_bytes_;
  Pick pick_;
  std::size_t reading_ = 0, block_ = 0;
  std::deque<Piece> planned_;
};

void CheckpointReader::Plan::plan_block() {
  const Reading& reading = readings_[reading_];
  if (block_ == reading.tensor->blocks.size()) {
    ++reading_;
    block_ = 0;
    return;
  }
  const Manifest::StoredBlock& stored = reading.tensor->blocks[block_++];
  if (pick_ && !pick_(stored)) return;
  const std::size_t element_bytes = size_of(reading.tensor->type);
  const std::uint64_t end =
      stored.at + static_cast<std::uint64_t>(stored.block.elements()) * element_bytes;
  std::uint64_t wanted_bytes = 0, read_bytes = 0;
  for (auto& piece : plan_pieces(stored.block, reading.blocks, element_bytes, piece_bytes_)) {
    for (const SharedRun& run : piece.runs) wanted_bytes += run.bytes;
    const std::uint64_t at = stored.at + piece.index * piece_bytes_;
    const std::uint64_t bytes = std::min(piece_bytes_, end - at);
    read_bytes += bytes;
    planned_.push_back({&reading, &stored, std::move(piece), at, bytes, reading.through});
  }
  // Who wants a part of most pieces, as columns of a matrix, has neighbours who want the others.
  const bool shared = planned_.size() > 1 && read_bytes >= 2 * wanted_bytes;
  if (!shared) return;
  for (Piece& piece : planned_) piece.through = DirectFile::Through::cache;
}

CheckpointReader::CheckpointReader(std::filesystem::path directory)
    : directory_(std::move(directory)),
      manifest_(read_manifest(directory_)),
      files_(manifest_.files.size()) {}

const DirectFile& CheckpointReader::open(std::size_t file) {
  OpenFile& opened = files_[file];
  if (opened.checked) return opened.file;
  const Manifest::StoredFile& listed = manifest_.files[file];
  opened.file = DirectFile(directory_ / listed.name);
  const File& found = opened.file.file();
  const std::string name = found.path().string();
  if (found.size() != listed.bytes) {
    throw Error(
        fmt::format("{}: has {} bytes, the manifest says {}: cut off, or of another "
                    "checkpoint",
                    name, found.size(), listed.bytes));
  }
  FileImage image;
  image.resize(listed.bytes);
  RunningHash hash;
  read_stretches(opened.file, bookkeeping_of(manifest_, file), [&](auto begin, auto bytes) {
    hash.add(bytes);
    image.write(begin, bytes);
  });
  const std::uint64_t hashed = hash.value();
  if (hashed != listed.bookkeeping_hash) {
    throw Error(
        fmt::format("{}: HDF5's bookkeeping is damaged, or the file is of another "
                    "checkpoint: its hash is {}, the manifest says {}",
                    name, hash_text(hashed), hash_text(listed.bookkeeping_hash)));
  }
  check_places(file, image);
  opened.checked = true;
  return opened.file;
}

void CheckpointReader::check_places(std::size_t file, FileImage& image) {
  std::vector<ShardDataset> datasets;
  std::vector<std::uint64_t> places;
  for (const auto& tensor : manifest_.tensors) {
    for (const auto& stored : tensor.blocks) {
      if (stored.file != file) continue;
      datasets.push_back({stored.dataset, tensor.type, tensor.shape, stored.block});
      places.push_back(stored.at);
    }
  }
  const std::filesystem::path& path = files_[file].file.file().path();
  locate_datasets(path, image, datasets);
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    if (datasets[i].at == places[i]) continue;
    throw Error(fmt::format("{}: dataset {} lies at byte {}, the manifest says {}", path.string(),
                            datasets[i].name, datasets[i].at, places[i]));
  }
}

void CheckpointReader::check(const Piece& piece, std::span<const std::byte> bytes) {
  bytes_read_ += bytes.size();
  const std::uint64_t found = XXH3_64bits(bytes.data(), bytes.size());
  const std::uint64_t listed = piece.stored->hashes[piece.plan.index];
  if (found == listed) return;
  throw Error(fmt::format(
      "{}: tensor {} ({}) is damaged: bytes {} to {} of the file have the hash {}, the manifest "
      "says {}",
      files_[piece.stored->file].file.file().path().string(), piece.reading->tensor->name,
      piece.stored->dataset, piece.at, piece.at + piece.bytes, hash_text(found),
      hash_text(listed)));
}

// use(piece, read) for each piece, where read() returns its bytes, or throws Error when they cannot
// be read or are not those of the manifest. The disk is kept busy while pieces are used.
template <typename Use>
void CheckpointReader::stream(Plan plan, const Use& use) {
  std::deque<Piece> asked;
  ReadAhead ahead;
  while (true) {
    while (Piece* next = plan.next()) {
      if (!ahead.ask(open(next->stored->file), next->at, next->bytes, next->through)) break;
      asked.push_back(std::move(*next));
      plan.pop();
    }
    if (asked.empty()) return;
    const Piece& piece = asked.front();
    use(piece, [&] {
      const std::span<const std::byte> bytes = ahead.take();
      check(piece, bytes);
      return bytes;
    });
    asked.pop_front();
  }
}

void CheckpointReader::read(std::span<const Reading> readings) {
  stream(Plan(readings, manifest_.piece_bytes), [&](const Piece& piece, const auto& read) {
    const std::span<const std::byte> bytes = read();
    const std::uint64_t begin = piece.plan.index * manifest_.piece_bytes;
    for (const SharedRun& run : piece.plan.runs) {
      piece.reading->take(run.wanted, bytes.subspan(run.stored - begin, run.bytes));
    }
  });
}

void CheckpointReader::read(const Manifest::StoredTensor& tensor, std::span<const Block> blocks,
                            const Take& take) {
  const Reading reading{&tensor, blocks, take};
  read(std::span(&reading, 1));
}

void CheckpointReader::read(const Manifest::StoredTensor& tensor, std::span<const Block> blocks,
                            std::span<std::byte> out) {
  read(tensor, blocks, [&](std::uint64_t offset, std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, out.subspan(offset, bytes.size()).begin());
  });
}

const Manifest::StoredTensor& CheckpointReader::stored(std::string_view part,
                                                       const LogicalTensor& target) const {
  const Manifest::StoredTensor* found = manifest_.find(part, target.name);
  if (found != nullptr) return *found;
  throw Error(
      fmt::format("{}: holds no tensor {} (part {}); it is of another model, or was saved without "
                  "this part (a run that begins with its parameters takes --init)",
                  directory_.string(), target.name, part));
}

CheckpointReader::Reading CheckpointReader::reading_for(const Wanted& wanted) const {
  const Manifest::StoredTensor& stored = *wanted.stored;
  const LogicalTensor& target = *wanted.target;
  if (stored.shape != target.layout.shape()) {
    throw Error(fmt::format("{}: tensor {} is {}, the model's is {}; it is of another model",
                            directory_.string(), stored.name, stored.shape.to_string(),
                            target.layout.shape().to_string()));
  }
  const auto take = [&stored, &target, converted = std::vector<std::byte>()](
                        std::uint64_t offset, std::span<const std::byte> bytes) mutable {
    const std::size_t count = bytes.size() / size_of(stored.type);
    const Tensor place =
        target.local.slice(static_cast<std::int64_t>(offset / size_of(stored.type)),
                           {static_cast<std::int64_t>(count)});
    if (stored.type == target.type) {
      place.copy_from_host(bytes);
      return;
    }
    converted.resize(place.bytes());
    convert_values({bytes.data(), count, stored.type}, {converted.data(), count, target.type});
    place.copy_from_host(converted);
  };
  return {&stored, target.layout.blocks(wanted.rank), take,
          is_replicated(target.layout) ? DirectFile::Through::cache : DirectFile::Through::memory};
}

void CheckpointReader::load(std::span<const Wanted> wanted) {
  std::vector<Reading> readings;
  for (const Wanted& one : wanted) {
    Reading reading = reading_for(one);
    if (one.target->layout.local_elements(one.rank) > 0) readings.push_back(std::move(reading));
  }
  read(readings);
}

void CheckpointReader::load(std::string_view part, const LogicalTensor& target, int rank) {
  const Wanted wanted{&stored(part, target), &target, rank};
  load(std::span(&wanted, 1));
}

std::size_t CheckpointReader::verify(const std::function<void(const std::string&)>& bad) {
  std::size_t damaged = 0;
  const auto tell = [&](const Error& error) {
    ++damaged;
    bad(error.what());
  };
  std::vector<char> usable(files_.size(), 1);
  for (std::size_t i = 0; i < files_.size(); ++i) {
    try {
      open(i);
    } catch (const Error& error) {
      usable[i] = 0;
      tell(error);
    }
  }
  std::vector<Block> wholes;
  for (const auto& tensor : manifest_.tensors) wholes.push_back(whole_block(tensor.shape));
  std::vector<Reading> readings;
  for (std::size_t i = 0; i < wholes.size(); ++i) {
    readings.push_back({&manifest_.tensors[i], std::span(&wholes[i], 1), {}});
  }
  const Manifest::StoredBlock* told = nullptr;  // each once, however many of its pieces are bad
  const Plan plan(readings, manifest_.piece_bytes,
                  [&](const auto& stored) { return usable[stored.file] != 0; });
  stream(plan, [&](const Piece& piece, const auto& read) {
    try {
      read();
    } catch (const Error& error) {
      if (std::exchange(told, piece.stored) != piece.stored) tell(error);
    }
  });
  return damaged;
}

}  // namespace train

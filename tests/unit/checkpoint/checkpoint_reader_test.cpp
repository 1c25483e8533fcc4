#include "libtrain/checkpoint/checkpoint_reader.hpp"

#include <algorithm>
#include <random>

#include <doctest/doctest.h>
#include <fcntl.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/read_plan.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/checkpoint/small_checkpoints.hpp"

using namespace train;
using train::test::message_of;
using train::test::ScratchDirectory;

namespace fs = std::filesystem;

namespace {

constexpr std::uint32_t seed = 20261126;

// A block of a matrix within [0, rows) x [0, columns), not empty.
Block random_block(std::mt19937& random, std::int64_t rows, std::int64_t columns) {
  const auto draw = [&](std::int64_t below) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(below));
  };
  Block block;
  block.offset = {draw(rows), draw(columns)};
  block.extent = {1 + draw(rows - block.offset[0]), 1 + draw(columns - block.offset[1])};
  return block;
}

void drop_from_cache(const fs::path& directory) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    File file(entry.path(), File::Mode::read);
    file.sync();
    ::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  }
}

}  // namespace

TEST_CASE("A plan reads each piece once that holds something wanted, and finds all of it") {
  CAPTURE(seed);
  std::mt19937 random(seed);
  const Shape shape{23, 17};
  for (int trial = 0; trial < 500; ++trial) {
    const Block stored = random_block(random, shape[0], shape[1]);
    std::vector<Block> wanted;
    std::int64_t wanted_elements = 0;
    for (std::size_t i = 0; i < 1 + random() % 3; ++i) {
      wanted.push_back(random_block(random, shape[0], shape[1]));
      wanted_elements += wanted.back().elements();
    }
    // What the stored block holds, by the element's index in the whole; -1: nothing.
    std::vector<std::int64_t> in_stored;
    for_each_run(shape, stored, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) in_stored.push_back(first + i);
    });
    std::vector<std::int64_t> expected(static_cast<std::size_t>(wanted_elements), -1);
    std::size_t at = 0;
    for (const Block& block : wanted) {
      for_each_run(shape, block, [&](std::int64_t first, std::int64_t count) {
        for (std::int64_t i = first; i < first + count; ++i, ++at) {
          if (std::ranges::find(in_stored, i) != in_stored.end()) expected[at] = i;
        }
      });
    }
    constexpr std::uint64_t piece_bytes = 32;
    std::vector<std::int64_t> found(expected.size(), -1);
    std::vector<std::uint64_t> pieces;
    for (const PieceToRead& piece : plan_pieces(stored, wanted, 4, piece_bytes)) {
      pieces.push_back(piece.index);
      CHECK_FALSE(piece.runs.empty());
      for (const SharedRun& run : piece.runs) {
        CHECK(run.stored >= piece.index * piece_bytes);
        CHECK(run.stored + run.bytes <= (piece.index + 1) * piece_bytes);
        for (std::uint64_t i = 0; i < run.bytes / 4; ++i) {
          CHECK(found[run.wanted / 4 + i] == -1);
          found[run.wanted / 4 + i] = in_stored.at(run.stored / 4 + i);
        }
      }
    }
    CHECK(found == expected);
    CHECK(std::ranges::adjacent_find(pieces, std::greater_equal()) == pieces.end());
  }
}

TEST_CASE("A part of a matrix is read in the pieces that hold it, from disk and from the cache") {
  const ScratchDirectory scratch;
  small_checkpoints::save(scratch.path(), {1});
  const auto device = make_cpu_device(1);
  const Shape shape{1201, 512};
  // From the midst of a row to the midst of another: three blocks, and pieces of both files.
  const Block whole = whole_block(shape);
  const auto blocks = flat_range(std::span(&whole, 1), 300 * 512 + 100, 900 * 512 + 7);
  CHECK(blocks.size() == 3);
  const Layout layout(shape, {blocks});
  for (const bool cold : {true, false}) {
    if (cold) drop_from_cache(scratch / "step-00000001");
    CheckpointReader reader(scratch / "step-00000001");
    const LogicalTensor expected =
        small_checkpoints::tensor_of("rows", layout, 0, reader.step(), *device);
    LogicalTensor found = expected;
    found.local = Tensor(device->memory(), {expected.local.elements()}, DataType::f32);
    reader.load("model", found, 0);
    CHECK(std::memcmp(found.local.raw(), expected.local.raw(), expected.local.bytes()) == 0);
    // No piece twice: the stored blocks have two each.
    CHECK(reader.bytes_read() <= static_cast<std::uint64_t>(shape.elements()) * 4);
  }
}

TEST_CASE("Tensors that are loaded together are refused before any of them has changed") {
  const ScratchDirectory scratch;
  small_checkpoints::save(scratch.path(), {1});
  const auto device = make_cpu_device(1);
  CheckpointReader reader(scratch / "step-00000001");
  const auto make = [&](const Shape& shape) {
    return small_checkpoints::tensor_of("rows", Layout::replicated(shape, 1), 0, 99, *device);
  };
  const LogicalTensor fits = make({1201, 512}), other = make({1200, 512});
  const auto& stored = reader.stored("model", fits);
  const CheckpointReader::Wanted wanted[] = {{&stored, &fits, 0}, {&stored, &other, 0}};
  const auto message = message_of<Error>([&] { reader.load(wanted); });
  CHECK(message.find("another model") != std::string::npos);
  CHECK(std::memcmp(fits.local.raw(), make({1201, 512}).local.raw(), fits.local.bytes()) == 0);
  CHECK(reader.bytes_read() == 0);
}

TEST_CASE("Damage on the disk is found when nothing of the file is in memory") {
  const ScratchDirectory scratch;
  small_checkpoints::save(scratch.path(), {1});
  const fs::path directory = scratch / "step-00000001";
  const Manifest manifest = CheckpointReader(directory).manifest();
  for (const auto& tensor : manifest.tensors) {
    const auto& stored = tensor.blocks.back();
    const fs::path path = directory / manifest.files[stored.file].name;
    std::array<std::byte, 1> byte{};
    File(path, File::Mode::read).read_at(stored.at, byte);
    const auto put = [&](std::byte value) {
      File file(path, File::Mode::update);
      byte[0] = value;
      file.write_at(stored.at, byte);
      file.sync();
      drop_from_cache(directory);
    };
    const std::byte right = byte[0];
    put(right ^ std::byte{4});
    CheckpointReader reader(directory);
    const auto message = message_of<Error>([&] { small_checkpoints::loads(reader); });
    CHECK(message.find("tensor " + tensor.name) != std::string::npos);
    std::vector<std::string> told;
    CHECK(reader.verify([&](const std::string& text) { told.push_back(text); }) == 1);
    CHECK(told.at(0).find(path.string()) != std::string::npos);
    put(right);
    CHECK(reader.verify([](const std::string&) {}) == 0);
    CHECK(small_checkpoints::loads(reader));
  }
}

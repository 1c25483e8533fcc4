#include "libtrain/checkpoint/direct_file.hpp"

#include <algorithm>

#include <doctest/doctest.h>
#include <fcntl.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/read_ahead.hpp"
#include "libtrain/tensor/cpu/cpu_memory.hpp"
#include "tests/support/scratch_directory.hpp"

using namespace train;
using train::test::message_of;
using train::test::ScratchDirectory;

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t file_bytes = (std::uint64_t{3} << 20) + 1234;

std::byte byte_at(std::uint64_t at) {
  return static_cast<std::byte>(at * 2654435761u >> 13);
}

fs::path make_file(const ScratchDirectory& scratch) {
  std::vector<std::byte> content(file_bytes);
  for (std::uint64_t at = 0; at < file_bytes; ++at) content[at] = byte_at(at);
  File file(scratch / "file", File::Mode::truncate);
  file.write_at(0, content);
  file.sync();
  return file.path();
}

void drop_from_cache(const fs::path& path) {
  const File file(path, File::Mode::read);
  CHECK(::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED) == 0);
}

bool is_file(std::span<const std::byte> bytes, std::uint64_t begin) {
  for (std::uint64_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != byte_at(begin + i)) return false;
  }
  return true;
}

struct Stretch {
  std::uint64_t begin, bytes;
};

// Aligned and not, within a block, across blocks, and the file's last bytes.
constexpr Stretch stretches[] = {{0, 4096},
                                 {8192, 1 << 20},
                                 {5, 1},
                                 {4095, 2},
                                 {123, 1 << 20},
                                 {4096 - 16, 3 * 4096},
                                 {file_bytes - 3, 3},
                                 {file_bytes - 70'000, 70'000},
                                 {0, file_bytes}};

}  // namespace

TEST_CASE("A file is read alike past the page cache, out of it, and through it") {
  const ScratchDirectory scratch;
  const fs::path path = make_file(scratch);
  const DirectFile file(path);
  CpuMemory memory;
  const std::uint64_t room_bytes = DirectFile::room_for(0, file_bytes);
  auto* const room = static_cast<std::byte*>(memory.allocate(room_bytes));
  for (const auto through : {DirectFile::Through::memory, DirectFile::Through::cache}) {
    for (const bool cold : {true, false}) {
      for (const auto& [begin, bytes] : stretches) {
        CAPTURE(begin);
        CAPTURE(bytes);
        if (cold) drop_from_cache(path);
        const std::span<std::byte> place(room, DirectFile::room_for(begin, bytes));
        std::ranges::fill(place, std::byte{0});
        const auto read = file.read(begin, bytes, place, through);
        CHECK(read.size() == bytes);
        CHECK(is_file(read, begin));
      }
    }
    drop_from_cache(path);
    const std::uint64_t begin = file_bytes - 10;
    const std::span<std::byte> place(room, DirectFile::room_for(begin, 5000));
    const auto message = message_of<Error>([&] { file.read(begin, 5000, place, through); });
    CHECK(message.find("4990 bytes short") != std::string::npos);
  }
  memory.release(room, room_bytes);
  CHECK_THROWS_AS(DirectFile(scratch / "none"), Error);
}

TEST_CASE("What is read ahead comes in the order in which it was asked for, however long it is") {
  const ScratchDirectory scratch;
  const fs::path path = make_file(scratch);
  const DirectFile file(path);
  drop_from_cache(path);
  std::uint32_t word = 7;
  const auto draw = [&](std::uint64_t below) {
    word = word * 1664525u + 1013904223u;
    return (word >> 4) % below;
  };
  ReadAhead ahead;
  std::deque<Stretch> asked;
  // Several times around the ring.
  for (std::size_t left = 200; left > 0 || !asked.empty();) {
    while (left > 0) {
      const std::uint64_t begin = draw(file_bytes - 1);
      const std::uint64_t limit = std::min(file_bytes - begin, draw(4) == 0 ? file_bytes : 9000);
      const Stretch next{begin, 1 + draw(limit)};
      if (!ahead.ask(file, next.begin, next.bytes, DirectFile::Through::memory)) break;
      asked.push_back(next);
      --left;
    }
    const auto read = ahead.take();
    CHECK(read.size() == asked.front().bytes);
    CHECK(is_file(read, asked.front().begin));
    asked.pop_front();
  }
}

TEST_CASE("A stretch that cannot be read is told when it is taken, and those behind it come") {
  const ScratchDirectory scratch;
  const DirectFile file(make_file(scratch));
  ReadAhead ahead;
  REQUIRE(ahead.ask(file, 0, 100, DirectFile::Through::memory));
  REQUIRE(ahead.ask(file, file_bytes - 1, 2, DirectFile::Through::memory));
  REQUIRE(ahead.ask(file, 50, 100, DirectFile::Through::memory));
  CHECK(is_file(ahead.take(), 0));
  CHECK_THROWS_AS(ahead.take(), Error);
  CHECK(is_file(ahead.take(), 50));
}

TEST_CASE("A stretch that is longer than the ring is read alone, and nobody waits for the rest") {
  const ScratchDirectory scratch;
  constexpr std::uint64_t long_bytes = std::uint64_t{40} << 20;
  {
    File made(scratch / "long", File::Mode::truncate);
    made.resize(long_bytes);
  }
  const DirectFile file(scratch / "long");
  ReadAhead ahead;
  REQUIRE(ahead.ask(file, 1, 10, DirectFile::Through::memory));
  CHECK_FALSE(ahead.ask(file, 0, long_bytes, DirectFile::Through::memory));
  CHECK(ahead.take().size() == 10);
  REQUIRE(ahead.ask(file, 0, long_bytes, DirectFile::Through::memory));
  CHECK(ahead.take().size() == long_bytes);
  // Nobody takes this one.
  REQUIRE(ahead.ask(file, 0, 4096, DirectFile::Through::memory));
}

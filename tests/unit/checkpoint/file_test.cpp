#include "libtrain/checkpoint/file.hpp"

#include <array>
#include <csignal>
#include <span>
#include <utility>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "collectives/error.hpp"
#include "tests/support/scratch_directory.hpp"

using train::AtomicFile;
using train::File;

TEST_CASE("An atomic file is there whole or not at all") {
  const train::test::ScratchDirectory scratch;
  const auto path = scratch / "run/weights";
  {
    AtomicFile file(path);
    file.file().write("old");
    CHECK(!std::filesystem::exists(path));
    file.commit();
    CHECK(train::test::read_file(path) == "old");
  }
  {
    AtomicFile file(path);
    file.file().write("half of the n");
  }
  CHECK(train::test::read_file(path) == "old");
  AtomicFile file(path);
  file.file().write("new");
  file.commit();
  CHECK(train::test::read_file(path) == "new");
  const auto files = std::filesystem::directory_iterator(scratch / "run");
  CHECK(std::distance(begin(files), end(files)) == 1);
}

TEST_CASE("An atomic file replaces what a link names, and no link") {
  const train::test::ScratchDirectory scratch;
  std::filesystem::create_directories(scratch / "disk");
  train::test::write_file(scratch / "disk/old", "old");
  std::filesystem::create_symlink("disk/old", scratch / "first");
  std::filesystem::create_symlink("first", scratch / "second");
  std::filesystem::create_symlink(scratch / "disk/missing", scratch / "dangling");
  for (const char* name : {"second", "dangling"}) {
    AtomicFile file(scratch / name);
    CHECK(file.file().path().parent_path() == scratch / "disk");
    file.file().write("new");
    file.commit();
    CHECK(std::filesystem::is_symlink(scratch / name));
  }
  CHECK(std::filesystem::is_symlink(scratch / "first"));
  CHECK(train::test::read_file(scratch / "disk/old") == "new");
  CHECK(train::test::read_file(scratch / "disk/missing") == "new");

  std::filesystem::create_symlink("loop", scratch / "loop");
  CHECK_THROWS_AS(AtomicFile(scratch / "loop"), train::Error);
}

TEST_CASE("An atomic file puts itself in place of no pipe, device or directory") {
  const train::test::ScratchDirectory scratch;
  const auto pipe = scratch / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::filesystem::create_symlink(pipe, scratch / "link");
  for (const auto& path : {pipe, scratch / "link", scratch.path()}) {
    const std::string message =
        train::test::message_of<train::Error>([&] { AtomicFile file(path); });
    CHECK(message.find("cannot write " + path.string() + ": it is a ") == 0);
  }
  CHECK(std::filesystem::is_fifo(pipe));
  const auto files = std::filesystem::directory_iterator(scratch.path());
  CHECK(std::distance(begin(files), end(files)) == 2);
}

TEST_CASE("What the system refuses becomes an Error with path and reason") {
  const train::test::ScratchDirectory scratch;
  train::test::write_file(scratch / "five", "12345");
  const File file(scratch / "five", File::Mode::read);
  std::array<std::byte, 4> bytes{};
  file.read_at(1, bytes);
  CHECK(bytes[3] == std::byte{'5'});
  auto message = train::test::message_of<train::Error>([&] { file.read_at(3, bytes); });
  CHECK(message.find((scratch / "five").string()) != std::string::npos);
  CHECK(message.find("2 bytes short") != std::string::npos);

  message = train::test::message_of<train::Error>([&] { File(scratch / "no", File::Mode::read); });
  CHECK(message.find((scratch / "no").string()) != std::string::npos);
  CHECK(message.find("errno 2") != std::string::npos);
  CHECK_THROWS_AS(File(scratch.path(), File::Mode::read).size(), train::Error);
  CHECK_THROWS_AS(AtomicFile(scratch / "five/below"), train::Error);
}

TEST_CASE("Moving a file leaves one owner") {
  const train::test::ScratchDirectory scratch;
  File first(scratch / "file", File::Mode::append);
  File second(std::move(first));
  second.write("one");
  File third;
  third = std::move(second);
  third.write(" two");
  CHECK(third.path() == scratch / "file");
  CHECK(train::test::read_file(scratch / "file") == "one two");
  third.close();
  CHECK(!third.is_open());
}

TEST_CASE("What the disk does not take whole leaves nothing behind") {
  const train::test::ScratchDirectory scratch;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit before = {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  for (const auto mode : {File::Mode::truncate, File::Mode::append}) {
    File file(scratch / "file", mode);
    const std::uint64_t begin = file.size();
    file.write_whole("first\n");
    struct rlimit tight = before;
    tight.rlim_cur = begin + 10;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
    CHECK_THROWS_AS(file.write_whole("too long\n"), train::Error);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(file.size() == begin + 6);
    file.write_whole("second\n");
  }
  CHECK(train::test::read_file(scratch / "file") == "first\nsecond\nfirst\nsecond\n");
  std::signal(SIGXFSZ, old_handler);
}

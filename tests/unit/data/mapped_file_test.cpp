#include "libtrain/data/mapped_file.hpp"

#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collectives/error.hpp"
#include "libtrain/data/mapped_file_fault.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {

TEST_CASE("a mapped file is the file's bytes, also after a move") {
  const ScratchDirectory scratch;
  write_file(scratch / "a", std::string("one\0two", 7));
  MappedFile first((scratch / "a").string());
  MappedFile second(std::move(first));
  CHECK(second.text() == std::string_view("one\0two", 7));
  write_file(scratch / "b", "other");
  second = MappedFile((scratch / "b").string());
  CHECK(second.text() == "other");
  CHECK(second.path() == (scratch / "b").string());
  const std::string large(100'000, 'x');
  write_file(scratch / "c", large);
  first = MappedFile((scratch / "c").string());
  std::swap(first, second);
  CHECK(first.text() == "other");
  CHECK(second.text() == large);
}

TEST_CASE("more small files than a process may map are open at once") {
  const ScratchDirectory scratch;
  write_file(scratch / "small", "text");
  std::vector<MappedFile> files;
  for (int i = 0; i < 70'000; ++i) files.emplace_back((scratch / "small").string());
  CHECK(files.back().text() == "text");
}

TEST_CASE("an empty file is empty bytes") {
  const ScratchDirectory scratch;
  write_file(scratch / "empty", "");
  CHECK(MappedFile((scratch / "empty").string()).bytes().empty());
}

TEST_CASE("who is ended by a file that became shorter says which it was") {
  const ScratchDirectory scratch;
  const std::string path = (scratch / "data with spaces.bin").string();
  write_file(path, std::string(100'000, 'x'));
  const std::string said = (scratch / "said").string();
  write_file(said, "");
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(::open(said.c_str(), O_WRONLY), STDERR_FILENO);
    const MappedFileFault fault;
    const MappedFile file(path);
    if (::truncate(path.c_str(), 0) != 0) ::_exit(2);
    ::_exit(file.text()[50'000] == 'x' ? 3 : 4);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(read_file(said).starts_with("error: " + path + " became shorter"));
}

TEST_CASE("what cannot be mapped is named with its reason") {
  const ScratchDirectory scratch;
  const auto message = [](const std::string& path) {
    return message_of<Error>([&] { MappedFile file(path); });
  };
  const std::string missing = (scratch / "missing").string();
  CHECK(message(missing) == "cannot open '" + missing + "': No such file or directory");
  CHECK(contains(message(scratch.path().string()), "it is a directory"));
  const std::string pipe = (scratch / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(contains(message(pipe), "it is a device or pipe"));
  const std::string secret = (scratch / "secret").string();
  write_file(secret, "x");
  REQUIRE(::chmod(secret.c_str(), 0) == 0);
  if (::geteuid() != 0) CHECK(message(secret) == "cannot open '" + secret + "': Permission denied");
}

}  // namespace train::test

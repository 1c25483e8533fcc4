// The journal on disk: what survives, what is refused, and a disk that is full.
#include "collectives/wide/service/journal_file.hpp"

#include <csignal>
#include <set>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "collectives/error.hpp"
#include "tests/support/scratch_directory.hpp"

namespace {

/// What was made durable in this process.
std::set<std::filesystem::path> synced;

}  // namespace

/// In the place of the C library's, to see that it is called.
extern "C" int fsync(int descriptor) {
  std::error_code ignored;
  synced.insert(
      std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", descriptor), ignored));
  return static_cast<int>(::syscall(SYS_fsync, descriptor));
}

namespace train::wide::test {
namespace {

namespace fs = std::filesystem;
using train::test::message_of;
using train::test::read_file;
using train::test::ScratchDirectory;
using train::test::write_file;

std::vector<Record> life() {
  const EpochMember a{{"a", 1}, 1, 1};
  return {Adopted{9, 40, {{}, 5, {}}}, EpochOpened{1, {a}}, Leased{"a", RangeSet({0, 10})},
          AttemptStarted{{1, 1, 1}, {{a.self, 8, RangeSet({0, 8})}}}, Committed{{1, 1, 1}, 77}};
}

Bytes bytes_of(const State& state) {
  Writer writer;
  writer(state);
  return writer.bytes;
}

/// Files may not grow beyond `bytes` while this lives.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

/// A directory with a whole journal in it.
struct Filled {
  Filled() {
    JournalFile journal(directory);
    for (const Record& record : life()) journal.append(journal_frame(record));
  }
  /// What opening it says.
  std::string refusal() const {
    return message_of<Error>([&] { const JournalFile journal(directory); });
  }
  ScratchDirectory scratch;
  fs::path directory = scratch / "runs/job";
  fs::path file = directory / "journal";
};

TEST_CASE("a journal is there again when it is opened again") {
  const Filled filled;
  State expected;
  for (const Record& record : life()) fold(expected, record);
  for (int time = 0; time < 2; ++time) {
    const JournalFile journal(filled.directory);
    CHECK(journal.replayed().records == life().size());
    CHECK(bytes_of(journal.replayed().state) == bytes_of(expected));
    CHECK(journal.cut_bytes() == 0);
  }
}

TEST_CASE("all directories that are made for a journal are durable") {
  const ScratchDirectory scratch;
  for (const char* place : {"a/b/c", "a/d/", "a/../e", "a"}) {
    CAPTURE(place);
    const fs::path directory = (scratch / place).lexically_normal();
    synced.clear();
    { const JournalFile journal(scratch / place); }
    CHECK(fs::exists(directory / "journal"));
    for (fs::path made = fs::canonical(directory); made != fs::canonical(scratch.path());
         made = made.parent_path()) {
      const bool is_new = std::string(place) != "a/d/" || made.filename() != "a";
      if (is_new) CHECK(synced.contains(made.parent_path()));
    }
    CHECK(synced.contains(fs::canonical(directory)));
  }
}

TEST_CASE("a torn write is cut off, and the next one follows what is whole") {
  const Filled filled;
  const std::string whole = read_file(filled.file);
  const std::size_t last = journal_frame(life().back()).size();
  for (std::size_t length = whole.size() - last; length <= whole.size(); ++length) {
    CAPTURE(length);
    write_file(filled.file, whole.substr(0, length));
    {
      JournalFile journal(filled.directory);
      const bool complete = length == whole.size();
      CHECK(journal.replayed().records == life().size() - (complete ? 0 : 1));
      CHECK(journal.cut_bytes() == (complete ? 0 : length - (whole.size() - last)));
      if (!complete) journal.append(journal_frame(life().back()));
    }
    CHECK(read_file(filled.file) == whole);
  }
}

TEST_CASE("a damaged journal is refused as it is, with the place and the way out") {
  const Filled filled;
  const std::string whole = read_file(filled.file);
  const std::size_t last = journal_frame(life().back()).size();
  for (std::size_t at = 0; at < whole.size() - last; ++at) {
    CAPTURE(at);
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write_file(filled.file, damaged);
    const std::string refusal = filled.refusal();
    CHECK(refusal.find(filled.file.string()) != std::string::npos);
    CHECK(refusal.find(" byte ") != std::string::npos);
    CHECK(refusal.find("move it away") != std::string::npos);
    CHECK(read_file(filled.file) == damaged);
  }
  write_file(filled.file, whole);
  CHECK(filled.refusal() == "");
}

TEST_CASE("what is no journal is not taken for one") {
  const Filled filled;
  SUBCASE("a directory") {
    fs::remove(filled.file);
    fs::create_directory(filled.file);
    CHECK(filled.refusal().find("Is a directory") != std::string::npos);
  }
  SUBCASE("a file where the directory should be") {
    const fs::path path = filled.file / "deeper";
    const auto open = [&] { const JournalFile journal(path); };
    CHECK(message_of<Error>(open).find("Not a directory") != std::string::npos);
  }
  SUBCASE("another file") {
    for (const char* content : {"x", "job: shakespeare\nclusters: [c1, c2]\n"}) {
      write_file(filled.file, content);
      CHECK(filled.refusal().find("does not begin at byte 0 as a journal does") !=
            std::string::npos);
      CHECK(read_file(filled.file) == content);
    }
  }
  SUBCASE("a journal of another version") {
    std::string older = read_file(filled.file);
    older[2] = 2;
    write_file(filled.file, older);
    CHECK(filled.refusal().find("its version is 2, and this program reads version 4") !=
          std::string::npos);
    CHECK(read_file(filled.file) == older);
  }
  SUBCASE("records that cannot follow each other") {
    Bytes twice = journal_frame(life()[0]);
    const Bytes again = journal_frame(life()[4]);
    twice.insert(twice.end(), again.begin(), again.end());
    write_file(filled.file, {reinterpret_cast<const char*>(twice.data()), twice.size()});
    CHECK(filled.refusal().find("a commit of no exchange") != std::string::npos);
  }
}

TEST_CASE("a journal has one coordinator") {
  const Filled filled;
  {
    const JournalFile journal(filled.directory);
    const std::string refusal = filled.refusal();
    CHECK(refusal.find("another coordinator (process " + std::to_string(::getpid()) + ")") !=
          std::string::npos);
  }
  CHECK(filled.refusal() == "");
}

TEST_CASE("a full disk is an error, and costs nothing that was decided") {
  const Filled filled;
  const std::string whole = read_file(filled.file);
  const Bytes frame = journal_frame(Leased{"a", RangeSet({10, 20})});
  for (const std::size_t room : {std::size_t{0}, std::size_t{1}, frame.size() - 1}) {
    CAPTURE(room);
    JournalFile journal(filled.directory);
    const FullDisk full(whole.size() + room);
    const std::string error = message_of<Error>([&] { journal.append(frame); });
    CHECK(error.find("cannot append") != std::string::npos);
    CHECK(error.find("File too large") != std::string::npos);
    CHECK(error.find("start the coordinator again") != std::string::npos);
    CHECK(read_file(filled.file) == whole);
  }
  JournalFile journal(filled.directory);
  journal.append(frame);
  CHECK(read_file(filled.file).size() == whole.size() + frame.size());
}

TEST_CASE("a compacted journal replaces the old one, or leaves it as it was") {
  const Filled filled;
  const State state = JournalFile(filled.directory).replayed().state;
  const Bytes compacted = journal_frame(state);
  const std::string whole = read_file(filled.file);
  {
    JournalFile journal(filled.directory);
    const FullDisk full(compacted.size() - 1);
    CHECK_THROWS_WITH_AS(journal.compact(compacted), doctest::Contains("journal.new"), Error);
    CHECK_FALSE(fs::exists(filled.directory / "journal.new"));
    CHECK(read_file(filled.file) == whole);
  }
  write_file(filled.directory / "journal.new", "left by a crash");
  {
    JournalFile journal(filled.directory);
    CHECK_FALSE(fs::exists(filled.directory / "journal.new"));
    journal.compact(compacted);
    journal.append(journal_frame(Leased{"a", RangeSet({10, 20})}));
  }
  const JournalFile journal(filled.directory);
  CHECK(journal.replayed().records == 2);
  CHECK(journal.replayed().state.ledger.leased("a") == RangeSet({8, 20}));
}

}  // namespace
}  // namespace train::wide::test

#include "libtrain/data/llmc_shard.hpp"

#include <csignal>
#include <limits>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "collectives/error.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {

TEST_CASE("a shard is read as llm.c lays it out") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "a.bin").string();
  write_file(path, llmc_header(20240520, 1, 3) + packed<std::uint16_t>({1, 50256, 65535}));
  CHECK(read_all(*open_llmc_shard(path)) == std::vector<std::int32_t>{1, 50256, 65535});
  CHECK(open_llmc_shard(path)->vocabulary_bound() == 65536);
  write_file(path, llmc_header(20240801, 7, 2) + packed<std::uint32_t>({128255, 7}));
  CHECK(read_all(*open_llmc_shard(path)) == std::vector<std::int32_t>{128255, 7});
}

TEST_CASE("what is written is read back, byte for byte as llm.c expects") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "a.bin").string();
  const auto tokens = counting(65536);
  write_llmc_shard(path, tokens);
  CHECK(read_all(*open_llmc_shard(path)) == tokens);
  write_llmc_shard(path, std::vector<std::int32_t>{5, 6});
  CHECK(read_file(path) == llmc_header(20240520, 1, 2) + packed<std::uint16_t>({5, 6}));
  write_llmc_shard(path, std::vector<std::int32_t>{100000}, LlmcFormat::llama3);
  CHECK(read_file(path) == llmc_header(20240801, 7, 1) + packed<std::uint32_t>({100000}));
  CHECK_FALSE(std::filesystem::exists(path + ".partial"));
}

TEST_CASE("tokens that a shard cannot hold are refused before anything is written") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "a.bin").string();
  const auto message = [&](std::vector<std::int32_t> tokens) {
    return message_of<Error>([&] { write_llmc_shard(path, tokens); });
  };
  CHECK(contains(message({1, 65536}), "a.bin': token 1 is 65536"));
  CHECK(contains(message({-1}), "token 0 is -1"));
  CHECK(contains(message({}), "0 tokens"));
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(contains(
      message_of<Error>([&] { write_llmc_shard((scratch / "none/a.bin").string(), counting(1)); }),
      "none/a.bin"));
}

TEST_CASE("a damaged shard is named with what was found and expected") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "a.bin").string();
  const auto message = [&](const std::string& content) {
    write_file(path, content);
    const auto text = message_of<Error>([&] { open_llmc_shard(path); });
    CHECK(contains(text, "'" + path + "'"));
    return text;
  };
  const std::string tokens = packed<std::uint16_t>({1, 2, 3});
  const std::string good = llmc_header(20240520, 1, 3) + tokens;
  const auto truncated = message(good.substr(0, good.size() - 1));
  CHECK(contains(truncated, "1029 bytes"));
  CHECK(contains(truncated, "1030 bytes"));
  CHECK(contains(message(good + "x"), "1031 bytes"));
  CHECK(contains(message(llmc_header(20240521, 1, 3) + tokens), "20240521, expected 20240520"));
  CHECK(contains(message(llmc_header(20240326, 3, 3) + tokens), "weights"));
  CHECK(contains(message(llmc_header(20240520, 2, 3) + tokens), "version 2, expected 1"));
  CHECK(contains(message(llmc_header(20240801, 1, 3) + tokens), "version 1, expected 7"));
  CHECK(contains(message(llmc_header(20240520, 1, -1) + tokens), "promises 4294967295 tokens"));
  CHECK(contains(message(llmc_header(20240520, 1, 0)), "without tokens"));
  CHECK(contains(message(good.substr(0, 1023)), "1023 bytes"));
  CHECK(contains(message(""), "0 bytes"));
}

TEST_CASE("a 32-bit value that is no id is named with its position") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "a.bin").string();
  write_file(path, llmc_header(20240801, 7, 3) + packed<std::uint32_t>({1, 2, 0xfffffffeu}));
  const auto source = open_llmc_shard(path);
  std::vector<std::int32_t> tokens(2);
  source->read(0, tokens);
  CHECK(contains(message_of<Error>([&] { source->read(1, tokens); }),
                 "a.bin', token 2: found 4294967294"));
}

TEST_CASE("a shard larger than 2 GiB is read at its end") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "large.bin").string();
  constexpr std::int64_t kTokens = 1'200'000'000;  // a sparse file of 2.4 GB
  write_file(path, llmc_header(20240520, 1, static_cast<std::int32_t>(kTokens)));
  if (::truncate(path.c_str(), 1024 + 2 * kTokens) != 0) {
    MESSAGE("skipped: the file system refuses sparse files");
    return;
  }
  const int file = ::open(path.c_str(), O_WRONLY);
  const std::string end = packed<std::uint16_t>({11, 22, 33});
  REQUIRE(::pwrite(file, end.data(), end.size(), 1024 + 2 * (kTokens - 3)) == 6);
  ::close(file);
  const auto source = open_llmc_shard(path);
  REQUIRE(source->size() == kTokens);
  std::vector<std::int32_t> tokens(4);
  source->read(kTokens - 4, tokens);
  CHECK(tokens == std::vector<std::int32_t>{0, 11, 22, 33});
}

TEST_CASE("a shard that cannot be written says what the system says, and leaves nothing") {
  const ScratchDirectory scratch;
  const auto message = [&](const char* name) {
    return message_of<Error>([&] { write_llmc_shard((scratch / name).string(), counting(10000)); });
  };
  CHECK(contains(message("missing/a.bin"), "a.bin': No such file or directory"));
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit before = {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  struct rlimit tight = before;
  tight.rlim_cur = 5000;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  const std::string said = message("a.bin");
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, old_handler);
  CHECK(contains(said, "a.bin': File too large"));
  CHECK(std::filesystem::is_empty(scratch.path()));
}

}  // namespace train::test

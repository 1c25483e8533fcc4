#include "libtrain/data/open_data.hpp"

#include <filesystem>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/llmc_shard.hpp"
#include "libtrain/data/token_dataset.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {
namespace {

using Tokens = std::vector<std::int32_t>;

std::string refusal(const std::vector<std::string>& patterns, const std::string& tokenizer = "") {
  return message_of<Error>([&] { open_data(patterns, tokenizer); });
}

}  // namespace

TEST_CASE("shards are one sequence in the order of their names") {
  const ScratchDirectory scratch;
  write_llmc_shard((scratch / "s_2.bin").string(), Tokens{4, 5});
  write_llmc_shard((scratch / "s_1.bin").string(), Tokens{1, 2, 3});
  write_llmc_shard((scratch / "s_3.bin").string(), Tokens{60000});
  const Data data = open_data({(scratch / "s_*.bin").string()});
  CHECK(data.sources.front().kind == DataKind::llmc_shards);
  CHECK(data.tokenizer == nullptr);
  CHECK(read_all(*data.sources.front().tokens) == Tokens{1, 2, 3, 4, 5, 60000});
  Tokens across(4);
  data.sources.front().tokens->read(2, across);
  CHECK(across == Tokens{3, 4, 5, 60000});
  CHECK(contains(data.sources.front().tokens->place(4), "s_2.bin', token 1"));
}

TEST_CASE("shards of both formats are no one source, but where a tokenizer is theirs") {
  const ScratchDirectory scratch;
  const auto path = [&](const char* name) { return (scratch / name).string(); };
  write_llmc_shard(path("llama.bin"), Tokens{3, 4}, LlmcFormat::llama3);
  write_llmc_shard(path("gpt2.bin"), Tokens{1, 2});
  write_llmc_shard(path("large.bin"), Tokens{1, 300});
  const std::string formats = refusal({path("llama.bin"), path("gpt2.bin")});
  CHECK(contains(formats, "gpt2.bin' holds token ids of 16 bits"));
  CHECK(contains(formats, "llama.bin' of 32"));
  CHECK(refusal({path("llama.bin"), path("gpt2.bin")}, "bytes").empty());
  CHECK(contains(refusal({path("llama.bin"), path("large.bin")}, "bytes"), "large.bin', token 1"));
}

TEST_CASE("a Megatron pair is opened by either name, once") {
  const ScratchDirectory scratch;
  write_file(scratch / "m.idx", MegatronIndex{8, {2}, {0}}.bytes());
  write_file(scratch / "m.bin", packed<std::uint16_t>({8, 9}));
  for (const char* pattern : {"m.idx", "m.bin", "m.*", ""}) {
    CAPTURE(pattern);
    const Data data = open_data({(scratch / pattern).string()});
    CHECK(data.sources.front().kind == DataKind::megatron);
    CHECK(read_all(*data.sources.front().tokens) == Tokens{8, 9});
  }
}

TEST_CASE("empty files beside texts are left out; where all are empty, that is said") {
  const ScratchDirectory scratch;
  write_file(scratch / "a.txt", "a");
  std::filesystem::create_directory(scratch / "b");
  write_file(scratch / "b/__init__.py", "");
  write_file(scratch / "c.txt", "c");
  const Data data = open_data({scratch.path().string()});
  CHECK(read_all(*data.sources.front().tokens) == Tokens{'a', 'c'});
  CHECK(data.empty_texts == 1);
  write_file(scratch / "b/other.py", "");
  CHECK(contains(refusal({(scratch / "b").string()}), "so are the other 1"));
}

TEST_CASE("compressed files and tables are no text") {
  const ScratchDirectory scratch;
  const std::string path = (scratch / "a").string();
  for (const char* magic : {"PAR1", "\x1f\x8b\x08", "\x28\xb5\x2f\xfd", "PK\x03\x04"}) {
    write_file(path, std::string(magic) + std::string(100, 'x'));
    CHECK(contains(refusal({path}), "not text"));
  }
}

TEST_CASE("text is read as bytes, or as characters of all its files") {
  const ScratchDirectory scratch;
  write_file(scratch / "a.txt", "ba");
  write_file(scratch / "b.txt", "é");
  const Data bytes = open_data({scratch.path().string()});
  CHECK(bytes.sources.front().kind == DataKind::text);
  CHECK(bytes.tokenizer->name() == "bytes");
  CHECK(read_all(*bytes.sources.front().tokens) == Tokens{'b', 'a', 0xc3, 0xa9});
  const Data chars = open_data({scratch.path().string()}, "chars");
  CHECK(chars.tokenizer->vocabulary_size() == 3);
  CHECK(read_all(*chars.sources.front().tokens) == Tokens{1, 0, 2});
  CHECK(chars.tokenizer->decode(read_all(*chars.sources.front().tokens)) == "baé");
  CHECK(bytes.unmarked_texts == 2);
  CHECK(chars.unmarked_texts == 2);
  CHECK(TokenDataset(bytes, {.context = 1}).unmarked_texts() == 2);
  CHECK(open_data({(scratch / "a.txt").string()}).unmarked_texts == 0);
}

TEST_CASE("another text is read with the first one's characters") {
  const ScratchDirectory scratch;
  write_file(scratch / "a.txt", "abc");
  write_file(scratch / "b.txt", "cab");
  write_file(scratch / "c.txt", "bad");
  const Data data = open_data({(scratch / "a.txt").string()}, "chars");
  CHECK(
      read_all(*open_data({(scratch / "b.txt").string()}, data.tokenizer).sources.front().tokens) ==
      Tokens{2, 0, 1});
  const auto message =
      message_of<Error>([&] { open_data({(scratch / "c.txt").string()}, data.tokenizer); });
  CHECK(contains(message, "c.txt'"));
  CHECK(contains(message, "U+0064 'd' at byte 2"));
}

TEST_CASE("data that cannot be used are refused by name") {
  const ScratchDirectory scratch;
  const auto path = [&](const char* name) { return (scratch / name).string(); };
  write_file(path("a.txt"), "text");
  write_file(path("empty.txt"), "");
  write_file(path("latin1.txt"), "caf\xe9");
  write_file(path("raw.bin"), "raw tokens without a header");
  write_llmc_shard(path("good.bin"), counting(5));

  const auto mixed = refusal({path("a.txt"), path("good.bin")});
  CHECK(contains(mixed, "a.txt' is text"));
  CHECK(contains(mixed, "good.bin' is a token shard"));
  CHECK(contains(refusal({path("empty.txt")}), "empty.txt' is empty"));
  CHECK(contains(refusal({path("raw.bin")}), "raw.bin"));
  CHECK(contains(refusal({path("missing.txt")}), "missing.txt'"));
  CHECK(contains(refusal({}), "--data"));
  CHECK(contains(refusal({path("good.bin")}, "chars"), "good.bin' is a token shard"));
  CHECK(contains(refusal({path("a.txt")}, "words"), "unknown tokenizer 'words'"));
  CHECK(contains(refusal({path("latin1.txt")}, "chars"), "latin1.txt': byte 3 (0xe9)"));
}

}  // namespace train::test

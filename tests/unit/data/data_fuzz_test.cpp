// Damaged files of every kind: a reader reads them or throws Error, and does nothing else.
#include <functional>
#include <random>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/llmc_shard.hpp"
#include "libtrain/data/megatron_source.hpp"
#include "libtrain/data/open_data.hpp"
#include "tests/unit/data/data_files.hpp"
#include "tests/unit/data/golden_tokenizer.hpp"

namespace train::test {
namespace {

/// Flips, cuts, repeats and inserts, mostly few, so that damage gets past the first check.
std::string damage(std::string bytes, std::mt19937& random) {
  for (unsigned times = 1 + random() % 4; times > 0; --times) {
    const std::size_t at = bytes.empty() ? 0 : random() % bytes.size();
    // Headers decide most; visit them more often.
    const std::size_t near = bytes.empty() ? 0 : random() % std::min<std::size_t>(bytes.size(), 48);
    const std::size_t place = random() % 2 ? at : near;
    switch (random() % 6) {
      case 0:
        bytes.resize(at);
        break;
      case 1:
        bytes.insert(place, 1 + random() % 9, static_cast<char>(random()));
        break;
      case 2:
        bytes.erase(place, 1 + random() % 9);
        break;
      case 3:
        bytes += bytes.substr(place, 16);
        break;
      default:
        if (!bytes.empty()) bytes[place] = static_cast<char>(random());
    }
  }
  return bytes;
}

std::string noise(std::mt19937& random) {
  std::string bytes(random() % 200, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

/// Runs `read` on damaged forms of `good` at `path`, and counts those that it accepts.
int accepted_of(const std::string& path, const std::string& good, int cases,
                const std::function<void()>& read) {
  const unsigned seed = 4711;
  CAPTURE(seed);
  CAPTURE(path);
  std::mt19937 random(seed);
  int accepted = 0;
  for (int i = 0; i < cases; ++i) {
    std::filesystem::remove(path);  // rewriting in place waits for the disk on some file systems
    write_file(path, i % 8 == 0 ? noise(random) : damage(good, random));
    try {
      read();
      ++accepted;
    } catch (const Error& error) {
      REQUIRE(std::string(error.what()).size() > 10);
    }
  }
  return accepted;
}

}  // namespace

TEST_CASE("damaged token files are read or refused") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "a.bin").string();
  for (const auto format : {LlmcFormat::gpt2, LlmcFormat::llama3}) {
    write_llmc_shard(path, counting(40), format);
    const int accepted = accepted_of(path, read_file(path), 600,
                                     [&] { read_all(*open_data({path}).sources.front().tokens); });
    CHECK(accepted > 0);  // some damage is to tokens, and those are read
  }
  const auto index = (scratch / "m.idx").string();
  write_file(scratch / "m.bin", std::string(64, '\1'));
  const MegatronIndex good{8, {10, 2, 20}, {0, 20, 24}};
  CHECK(accepted_of(index, good.bytes(), 1500, [&] { read_all(*open_megatron(index)); }) > 0);
}

TEST_CASE("damaged vocabularies are read or refused") {
  const ScratchDirectory scratch;
  const std::string text = "the king's 123 \xff\xc3  \n 中文 <|endoftext|>";
  const auto check = [&](const std::string& prefix, const char* name, const std::string& good,
                         int cases) {
    const auto path = (scratch / name).string();
    accepted_of(path, good, cases, [&] {
      const auto tokenizer = make_tokenizer(prefix + path);
      tokenizer->decode(tokenizer->encode(text));
    });
  };
  std::vector<std::int32_t> header(256);
  header[0] = 20240328;
  header[1] = 2;
  header[2] = 4;
  header[3] = 3;
  check("gpt2:", "t.bin", packed(header) + "\1a\1b\2ab\3end", 400);
  check("gpt2:", "merges.txt", "#version: 0.2\nt h\nth e\nĠ t\n", 400);
  check("gpt2:", "r.tiktoken", "YQ== 0\nYg== 1\nYWI= 2\n", 400);
  check("hf:", "small.json",
        R"({"added_tokens":[{"id":3,"content":"<|endoftext|>"}],"normalizer":null,)"
        R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},)"
        R"("model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})",
        600);
}

TEST_CASE("a damaged saved tokenizer is read or refused") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "saved.json").string();
  const auto small = make_tokenizer("hf:" + golden_path("prefix_digits.json"));
  for (const auto& tokenizer : {make_char_tokenizer("abc é"), small}) {
    accepted_of(path, tokenizer->to_json(), 200, [&] {
      const auto restored = tokenizer_from_json(read_file(path));
      restored->decode(restored->encode("ab"));
    });
  }
}

}  // namespace train::test

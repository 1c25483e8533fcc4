#include "libtrain/data/token_shards.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/llmc_shard.hpp"
#include "libtrain/data/open_data.hpp"
#include "tests/unit/data/data_files.hpp"
#include "tests/unit/data/golden_tokenizer.hpp"

namespace train::test {
namespace {

using Tokens = std::vector<std::int32_t>;

/// Three texts and the shards that they become.
class Corpus {
 public:
  Corpus() {
    write_file(scratch_ / "1.txt", "the king\nthe ship\n");
    write_file(scratch_ / "2.txt", "the ring");
    write_file(scratch_ / "3.txt", "one\ntwo\nthree\nfour\n");
  }

  std::vector<TokenShard> write(const Tokenizer& tokenizer, std::uint64_t tokens_max = 1000,
                                double validation_fraction = 0.0) const {
    std::filesystem::remove_all(scratch_ / "out");
    std::vector<TokenShard> shards;
    write_token_shards({text()}, tokenizer,
                       {.directory = (scratch_ / "out").string(),
                        .tokens_max = tokens_max,
                        .validation_fraction = validation_fraction},
                       [&](const TokenShard& shard) { shards.push_back(shard); });
    return shards;
  }

  std::string text() const { return (scratch_ / "*.txt").string(); }
  std::filesystem::path operator/(const char* name) const { return scratch_ / name; }
  Tokens read(const char* shards) const {
    return read_all(*open_data({(scratch_ / shards).string()}).sources.front().tokens);
  }

 private:
  ScratchDirectory scratch_;
};

std::shared_ptr<const Tokenizer> golden_tokenizer() {
  return make_tokenizer("hf:" + golden_path("gpt2_style.json"));
}

}  // namespace

TEST_CASE("shards hold the tokens of the texts, each with its end") {
  const Corpus corpus;
  const auto tokenizer = golden_tokenizer();
  Tokens expected = read_all(*open_data({corpus.text()}, tokenizer).sources.front().tokens);
  expected.push_back(856);
  const auto shards = corpus.write(*tokenizer);
  REQUIRE(shards.size() == 1);
  CHECK(shards[0].path == (corpus / "out/train_000000.bin").string());
  CHECK(shards[0].tokens == expected.size());
  CHECK(corpus.read("out/train_*.bin") == expected);

  const auto small = corpus.write(*tokenizer, 7);
  CHECK(small.size() == (expected.size() + 6) / 7);
  for (std::size_t i = 0; i + 1 < small.size(); ++i) CHECK(small[i].tokens == 7);
  CHECK(corpus.read("out/train_*.bin") == expected);
  CHECK(read_file(small[0].path).size() == 1024 + 2 * 7);
}

TEST_CASE("the end of the text becomes shards of its own, cut at a line") {
  const Corpus corpus;
  const auto bytes = make_tokenizer("bytes");
  const auto text_of = [&](const char* shards) { return bytes->decode(corpus.read(shards)); };
  // 45 bytes: the last quarter begins at byte 33, within "two".
  const auto shards = corpus.write(*bytes, 1000, 0.25);
  CHECK(shards.size() == 2);
  CHECK(text_of("out/train_*.bin") == "the king\nthe ship\nthe ringone\ntwo\n");
  CHECK(text_of("out/val_*.bin") == "three\nfour\n");
  corpus.write(*bytes, 1000, 0.5);
  CHECK(text_of("out/train_*.bin") == "the king\nthe ship\nthe ring");
  CHECK(text_of("out/val_*.bin") == "one\ntwo\nthree\nfour\n");
  // A cut text is two documents.
  const auto tokenizer = golden_tokenizer();
  corpus.write(*tokenizer, 1000, 0.25);
  CHECK(tokenizer->decode(corpus.read("out/train_*.bin")).ends_with("two\n<|endoftext|>"));
  CHECK(tokenizer->decode(corpus.read("out/val_*.bin")) == "three\nfour\n<|endoftext|>");
}

TEST_CASE("what has no lines is cut behind a word or a character") {
  const ScratchDirectory scratch;
  const auto bytes = make_tokenizer("bytes");
  const auto held_out = [&](const std::string& text, double fraction) {
    write_file(scratch / "text", text);
    std::filesystem::remove_all(scratch / "out");
    write_token_shards({(scratch / "text").string()}, *bytes,
                       {.directory = (scratch / "out").string(), .validation_fraction = fraction},
                       [](const TokenShard&) {});
    const auto shards = open_data({(scratch / "out/val_*.bin").string()});
    return bytes->decode(read_all(*shards.sources.front().tokens));
  };
  CHECK(held_out(std::string(30000, 'x'), 0.5) == std::string(15000, 'x'));
  CHECK(held_out("one two three four five six", 0.5) == "four five six");
  CHECK(held_out("one two three four five six", 0.35) == "five six");
  CHECK(held_out("öäüöäü", 0.41) == "äü");
  CHECK(held_out(std::string(500, 'x') + "\n" + std::string(99, 'y'), 0.2) == std::string(99, 'y'));
  for (const auto& [fraction, purpose] : {std::pair(0.01, "validate"), {0.95, "train"}}) {
    const std::string message = message_of<Error>([&] { held_out("öäü", fraction); });
    CHECK(contains(message, "--val-fraction 0."));
    CHECK(contains(message, fmt::format("nothing to {} with", purpose)));
  }
}

TEST_CASE("large vocabularies take 32 bits") {
  const Corpus corpus;
  auto document = golden_document("gpt2_style");
  document["added_tokens"][0]["id"] = 100000;
  write_file(corpus / "tokenizer.json", document.dump());
  const auto tokenizer = make_tokenizer("hf:" + (corpus / "tokenizer.json").string());
  const auto shards = corpus.write(*tokenizer);
  CHECK(read_file(shards[0].path).size() == 1024 + 4 * shards[0].tokens);
  CHECK(corpus.read("out/train_*.bin").back() == 100000);
}

TEST_CASE("what cannot become shards is refused by name") {
  const Corpus corpus;
  const auto bytes = make_tokenizer("bytes");
  const auto message = [&](const std::string& data, const std::string& out,
                           std::uint64_t tokens_max = 10, double fraction = 0.0) {
    return message_of<Error>([&] {
      write_token_shards({data}, *bytes, {out, tokens_max, fraction}, [](const TokenShard&) {});
    });
  };
  const std::string out = (corpus / "out").string();
  CHECK(contains(message((corpus / "none.txt").string(), out), "none.txt"));
  CHECK(contains(message(corpus.text(), out, 0), "0 tokens"));
  CHECK(contains(message(corpus.text(), out, std::uint64_t{1} << 31), "2147483648 tokens"));
  CHECK(contains(message(corpus.text(), out, 10, 1.0), "share"));
  CHECK(contains(message(corpus.text(), (corpus / "1.txt").string()), "1.txt' cannot"));
  write_file(corpus / "empty", "");
  CHECK(contains(message((corpus / "empty").string(), out), "empty' is empty"));
  CHECK(!std::filesystem::exists(out));
  corpus.write(*bytes);
  CHECK(contains(message(corpus.text(), out), "train_000000.bin"));
  const std::string shard = (corpus / "out/train_000000.bin").string();
  CHECK(contains(message(shard, (corpus / "other").string()), "token shard already"));
  write_file(corpus / "x.bin", "anything");
  CHECK(contains(message((corpus / "x.bin").string(), out), "x.bin' is not text"));
  write_file(corpus / "x.idx", "anything");
  for (const char* name : {"x.bin", "x.idx"}) {
    CHECK(contains(message((corpus / name).string(), (corpus / "other").string()),
                   fmt::format("{}' is of a Megatron data set", name)));
  }
  CHECK(!std::filesystem::exists(corpus / "other"));
}

}  // namespace train::test

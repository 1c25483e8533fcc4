#include <algorithm>
#include <cctype>
#include <map>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/open_data.hpp"
#include "libtrain/data/tokenizer.hpp"
#include "libtrain/data/tokenizers/byte_level.hpp"
#include "tests/unit/data/data_files.hpp"
#include "tests/unit/data/golden_tokenizer.hpp"

namespace train::test {
namespace {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

/// The golden GPT-2 style vocabulary, written in the forms that GPT-2's is passed around in.
class Forms {
 public:
  Forms() : document_(golden_document("gpt2_style")), tokens_(document_["model"]["vocab"].size()) {
    for (const auto& [token, id] : document_["model"]["vocab"].items()) {
      tokens_[id.get<std::size_t>()] = *detail::from_byte_level(token);
    }
  }

  const std::vector<std::string>& tokens() const { return tokens_; }
  const json& vocabulary() const { return document_["model"]["vocab"]; }

  std::string llmc(std::int32_t version = 2) const {
    std::vector<std::int32_t> header(256);
    header[0] = 20240328;
    header[1] = version;
    header[2] = static_cast<std::int32_t>(tokens_.size()) + 1;
    if (version == 2) header[3] = static_cast<std::int32_t>(tokens_.size());
    std::string bytes = packed(header);
    for (const auto& token : tokens_) bytes += static_cast<char>(token.size()) + token;
    const std::string end = "<|endoftext|>";
    return bytes + static_cast<char>(end.size()) + end;
  }

  std::string merges() const {
    std::string text = "#version: 0.2\n";
    for (const auto& merge : document_["model"]["merges"]) text += merge.get<std::string>() + "\n";
    return text;
  }

  std::string tiktoken() const {
    std::string text;
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      text += base64(tokens_[id]) + " " + std::to_string(id) + "\n";
    }
    return text;
  }

 private:
  static std::string base64(const std::string& bytes) {
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
      unsigned word = 0;
      for (std::size_t i = at; i < at + 3; ++i) {
        word = word << 8 | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u);
      }
      for (std::size_t i = 0; i < 4; ++i) {
        text += at + i > bytes.size() ? '=' : digits[word >> (18 - 6 * i) & 63];
      }
    }
    return text;
  }

  json document_;
  std::vector<std::string> tokens_;
};

void check_golden(const std::string& specification) {
  CAPTURE(specification);
  const auto tokenizer = make_tokenizer(specification);
  CHECK(tokenizer->vocabulary_size() == 857);
  CHECK(tokenizer->end_of_text() == 856);
  for (const GoldenCase& golden : golden_cases("gpt2_style")) {
    CAPTURE(golden.text);
    REQUIRE(tokenizer->encode(golden.text) == golden.ids);
    REQUIRE(tokenizer->decode(golden.ids) == golden.text);
  }
}

std::string refusal(const std::string& path) {
  const auto message = message_of<Error>([&] { make_tokenizer("gpt2:" + path); });
  CHECK(contains(message, path));
  return message;
}

}  // namespace

TEST_CASE("every form of GPT-2's vocabulary gives the same ids") {
  const Forms forms;
  const ScratchDirectory scratch;
  const auto path = [&](const char* name) { return (scratch / name).string(); };
  write_file(path("gpt2_tokenizer.bin"), forms.llmc());
  check_golden("gpt2:" + path("gpt2_tokenizer.bin"));
  check_golden("gpt2:" + scratch.path().string());
  write_file(path("old.bin"), forms.llmc(1));
  check_golden("gpt2:" + path("old.bin"));
  write_file(path("r50k_base.tiktoken"), forms.tiktoken());
  check_golden("gpt2:" + path("r50k_base.tiktoken"));
  write_file(path("vocab.bpe"), forms.merges());
  check_golden("gpt2:" + path("vocab.bpe"));
  json vocabulary = forms.vocabulary();
  vocabulary["<|endoftext|>"] = 856;
  write_file(path("vocab.json"), vocabulary.dump());
  write_file(path("merges.txt"), forms.merges());
  check_golden("gpt2:" + path("merges.txt"));
  check_golden("gpt2:" + path("vocab.json"));
  check_golden("gpt2:" + scratch.path().string());
}

TEST_CASE("merging the pair whose bytes have the lowest id is merging by rank") {
  // What makes llm.c's file, which holds no merges, enough to encode with.
  const Forms forms;
  std::map<std::string, std::int32_t> id_of;
  for (std::size_t id = 0; id < forms.tokens().size(); ++id) {
    id_of[forms.tokens()[id]] = static_cast<std::int32_t>(id);
  }
  const auto tokenizer = make_tokenizer("hf:" + golden_path("gpt2_style.json"));
  const std::string all = read_file(golden_path("gpt2_style.expected.json"));
  int words = 0;
  for (std::size_t at = 0; at < all.size(); ++words) {
    std::size_t end = at;
    while (end < all.size() && std::isalpha(static_cast<unsigned char>(all[end])) != 0) ++end;
    if (end == at) {
      ++at;
      continue;
    }
    std::vector<std::string> parts;
    for (std::size_t i = at; i < end; ++i) parts.emplace_back(1, all[i]);
    while (true) {
      std::int32_t best = INT32_MAX;
      std::size_t place = 0;
      for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
        const auto found = id_of.find(parts[i] + parts[i + 1]);
        if (found == id_of.end() || found->second >= best) continue;
        best = found->second;
        place = i;
      }
      if (best == INT32_MAX) break;
      parts[place] += parts[place + 1];
      parts.erase(parts.begin() + static_cast<long>(place) + 1);
    }
    Ids ids;
    for (const auto& part : parts) ids.push_back(id_of.at(part));
    REQUIRE(tokenizer->encode(all.substr(at, end - at)) == ids);
    at = end;
  }
  CHECK(words > 1000);
}

TEST_CASE("texts are separated by the end-of-text id") {
  const ScratchDirectory scratch;
  write_file(scratch / "tokenizer.bin", Forms().llmc());
  std::filesystem::create_directory(scratch / "texts");
  write_file(scratch / "texts/a.txt", "a");
  write_file(scratch / "texts/b.txt", "b");
  const auto data =
      open_data({(scratch / "texts").string()}, "gpt2:" + (scratch / "tokenizer.bin").string());
  CHECK(read_all(*data.sources.front().tokens) == Ids{'a' - '!', 856, 'b' - '!'});
}

TEST_CASE("damaged vocabularies are refused by name") {
  const Forms forms;
  const ScratchDirectory scratch;
  const auto path = (scratch / "t.bin").string();
  const auto with = [&](const std::string& content) {
    write_file(path, content);
    return refusal(path);
  };
  const std::string good = forms.llmc();
  CHECK(contains(with(good.substr(0, good.size() - 1)), "token 856 of 857"));
  CHECK(contains(with(good + "x"), "bytes"));
  CHECK(contains(with(good.substr(0, 1000)), "header"));
  CHECK(contains(with("xxxx" + good.substr(4)), "20240328"));
  std::string changed = good;
  changed[4] = 9;
  CHECK(contains(with(changed), "version is 9"));
  changed = good;
  changed[13] = 99;
  CHECK(contains(with(changed), "end-of-text id"));

  const auto merges = (scratch / "merges.txt").string();
  write_file(merges, "#version: 0.2\na b\nabc d\n");
  CHECK(contains(refusal(merges), "'abc'"));
  write_file(merges, "a b\na b\n");
  CHECK(contains(refusal(merges), "'ab'"));
  write_file(merges, "ab\n");
  CHECK(contains(refusal(merges), "'ab'"));
  write_file(merges, "");
  CHECK(contains(refusal(merges), "no merges"));
  const auto ranks = (scratch / "r.tiktoken").string();
  write_file(ranks, "YQ== 0\n!!! 1\n");
  CHECK(contains(refusal(ranks), "!!! 1"));
  write_file(ranks, "YQ== 50256\n");
  CHECK(contains(refusal(ranks), "hf:tokenizer.json"));
  CHECK(contains(refusal((scratch / "missing.bin").string()), "No such file"));
  std::filesystem::create_directory(scratch / "empty");
  CHECK(contains(refusal((scratch / "empty").string()), "merges.txt"));
}

TEST_CASE("a file that is not GPT-2's is refused in few words") {
  const ScratchDirectory scratch;
  const std::string path = (scratch / "tokenizer.json").string();
  write_file(path, "{\"model\": " + std::string(100000, 'x'));
  CHECK(contains(refusal(path), "use hf:" + path));
  for (const char* begin : {"x ", "xx", "#version\nx "}) {
    write_file(path, begin + std::string(100000, 'x'));
    CHECK(refusal(path).size() < path.size() + 400);
  }
}

}  // namespace train::test

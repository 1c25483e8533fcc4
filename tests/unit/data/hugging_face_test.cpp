#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizer.hpp"
#include "tests/unit/data/data_files.hpp"
#include "tests/unit/data/golden_tokenizer.hpp"

namespace train::test {
namespace {

using nlohmann::json;

/// What reading a changed tokenizer.json says; empty if it is accepted.
class Reader {
 public:
  std::string message(const json& document) const {
    return message_of<Error>([&] { read(document); });
  }

  std::shared_ptr<const Tokenizer> read(const json& document) const {
    write_file(scratch_ / "tokenizer.json", document.dump());
    return make_tokenizer("hf:" + scratch_.path().string());  // the folder names the file
  }

 private:
  ScratchDirectory scratch_;
};

json changed(const char* pointer, json value) {
  json document = golden_document("gpt2_style");
  document[json::json_pointer(pointer)] = std::move(value);
  return document;
}

}  // namespace

TEST_CASE("what a byte-level BPE cannot be is refused by its name") {
  const Reader reader;
  const auto refuses = [&](const json& document, const char* name) {
    const auto message = reader.message(document);
    CAPTURE(message);
    CHECK(contains(message, "tokenizer.json'"));
    CHECK(contains(message, name));
  };
  CHECK(reader.message(golden_document("gpt2_style")).empty());
  refuses(changed("/model/type", "Unigram"), "Unigram");
  refuses(changed("/model/type", "WordPiece"), "WordPiece");
  refuses(changed("/model/byte_fallback", true), "byte_fallback");
  refuses(changed("/model/dropout", 0.1), "dropout");
  refuses(changed("/model/end_of_word_suffix", "</w>"), "end_of_word_suffix");
  refuses(changed("/normalizer", {{"type", "Lowercase"}}), "Lowercase");
  refuses(changed("/normalizer",
                  {{"type", "Sequence"}, {"normalizers", json::parse(R"([{"type": "NFKC"}])")}}),
          "NFKC");
  refuses(changed("/pre_tokenizer", {{"type", "Metaspace"}}), "Metaspace");
  refuses(changed("/pre_tokenizer", nullptr), "without ByteLevel");
  refuses(changed("/added_tokens/0/lstrip", true), "lstrip");
  refuses(changed("/added_tokens/0/id", -1), "-1");
  refuses(changed("/added_tokens/0/id", 855), "855");
  refuses(changed("/model/vocab/<|endoftext|>", 900), "856");
  refuses(changed("/model/vocab/a", 1 << 30), "1073741824");
  refuses(changed("/model/vocab/zzz", 5), "'zzz'");
  refuses(changed("/model/merges/0", "abc"), "'abc'");
  refuses(changed("/model/merges/0", "q qqq"), "'qqq'");
  refuses(changed("/model/merges/1", golden_document("gpt2_style")["model"]["merges"][0]), "twice");
  refuses(changed("/model/vocab", json::array()), "vocabulary");
  const json bad_pattern = json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "a(b"}, "behavior": "Isolated"}]})");
  refuses(changed("/pre_tokenizer", bad_pattern), "a(b");
  const json no_bytes = json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "ab"}, "behavior": "Isolated"}]})");
  refuses(changed("/pre_tokenizer", no_bytes), "without ByteLevel");
}

TEST_CASE("a BPE without a type is one, as in GPT-2's published file") {
  const Reader reader;
  json document = golden_document("gpt2_style");
  json& model = document["model"];
  for (const char* newer : {"type", "ignore_merges", "byte_fallback"}) model.erase(newer);
  model["continuing_subword_prefix"] = model["end_of_word_suffix"] = "";
  model["vocab"]["<|endoftext|>"] = 856;
  document["added_tokens"][0]["normalized"] = true;
  document["pre_tokenizer"].erase("use_regex");
  document["post_processor"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}};
  const auto tokenizer = reader.read(document);
  CHECK(tokenizer->end_of_text() == 856);
  CHECK(tokenizer->vocabulary_size() == 857);
  for (const GoldenCase& golden : golden_cases("gpt2_style")) {
    CAPTURE(golden.text);
    CHECK(tokenizer->encode(golden.text) == golden.ids);
  }
  model.erase("merges");
  CHECK(contains(reader.message(document), "the model of no type"));
}

TEST_CASE("merges as pairs and as strings are the same") {
  const Reader reader;
  json document = golden_document("gpt2_style");
  for (json& merge : document["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    const auto space = text.find(' ');
    merge = {text.substr(0, space), text.substr(space + 1)};
  }
  const auto tokenizer = reader.read(document);
  for (const GoldenCase& golden : golden_cases("gpt2_style")) {
    REQUIRE(tokenizer->encode(golden.text) == golden.ids);
  }
}

TEST_CASE(
    "tokens that are looked for in NFC are found in either form, as by Hugging Face's library") {
  const ScratchDirectory scratch;
  json document = changed("/normalizer", {{"type", "NFC"}});
  document["added_tokens"].push_back(
      {{"id", 5000}, {"content", "e\u0301<x>"}, {"normalized", true}, {"special", false}});
  write_file(scratch / "t.json", document.dump());
  const auto tokenizer = make_tokenizer("hf:" + (scratch / "t.json").string());
  for (const char* text : {"a\u00e9<x>b", "ae\u0301<x>b"}) {
    CHECK(tokenizer->encode(text) == std::vector<std::int32_t>{64, 5000, 65});
  }
  CHECK(tokenizer->decode(std::vector<std::int32_t>{5000}) == "e\u0301<x>");
}

TEST_CASE("NFC is applied to text, and not to special tokens that are found before it") {
  const Reader reader;
  json document = changed("/normalizer", {{"type", "NFC"}});
  document["added_tokens"].push_back(
      {{"id", 5000}, {"content", "e\u0301!"}, {"normalized", false}, {"special", true}});
  const auto tokenizer = reader.read(document);
  const auto plain = reader.read(golden_document("gpt2_style"));
  const std::string harmless = "caf\u00e9 \u4e2d\u6587 \uac00 \u2764\ufe0f \U0001f600 \xff";
  CHECK(tokenizer->encode(harmless) == plain->encode(harmless));
  CHECK(tokenizer->encode("xe\u0301\u212b\u1100\u1161") == plain->encode("x\u00e9\u00c5\uac00"));
  CHECK(tokenizer->encode("e\u0301!") == std::vector<std::int32_t>{5000});
}

TEST_CASE("literal splits and removed gaps are applied") {
  const Reader reader;
  const auto with = [&](const json& pattern, const char* behavior, bool invert) {
    return reader.read(changed(
        "/pre_tokenizer",
        {{"type", "Sequence"},
         {"pretokenizers",
          {{{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", invert}},
           {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}}));
  };
  const auto literal = with({{"String", "t."}}, "Isolated", false);
  const auto ids = literal->encode("at.he the");
  CHECK(literal->decode(std::vector{ids[0]}) == "a");  // "at" would merge but for the split
  CHECK(literal->decode(ids) == "at.he the");
  const auto words = with({{"Regex", "[a-z]+"}}, "Removed", true);
  CHECK(words->decode(words->encode("the 12 king")) == "theking");
  CHECK(contains(message_of<Error>([&] {
                   with({{"String", "x"}}, "MergedWithNext", false);
                 }),
                 "MergedWithNext"));
}

TEST_CASE("a byte without a token is refused when it is met") {
  const Reader reader;
  json document = golden_document("gpt2_style");
  document["model"]["vocab"].erase("!");
  const auto tokenizer = reader.read(document);
  CHECK_FALSE(tokenizer->encode("the").empty());
  CHECK(contains(message_of<Error>([&] { tokenizer->encode("the!"); }), "byte 0x21"));
  CHECK(contains(message_of<Error>([&] { tokenizer->decode(std::vector{0}); }), "id 0 "));
}

TEST_CASE("what is no JSON, or missing, is named") {
  const ScratchDirectory scratch;
  write_file(scratch / "t.json", "{\"model\": ");
  const auto message = [](const std::string& path) {
    return message_of<Error>([&] { make_tokenizer("hf:" + path); });
  };
  CHECK(contains(message((scratch / "t.json").string()), "t.json'"));
  write_file(scratch / "t.json", "[]");
  CHECK(contains(message((scratch / "t.json").string()), "t.json'"));
  CHECK(contains(message((scratch / "none.json").string()), "none.json'"));
  CHECK(contains(message(scratch.path().string()), "tokenizer.json'"));
}

}  // namespace train::test

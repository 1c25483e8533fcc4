// Ids are compared with those of Hugging Face's tokenizers; see make_tokenizer_golden.py.
#include <doctest/doctest.h>

#include "libtrain/data/tokenizer.hpp"
#include "tests/unit/data/golden_tokenizer.hpp"

namespace train::test {

TEST_CASE("ids are those of Hugging Face's tokenizers, and decode to the text") {
  for (const std::string name : {"gpt2_style", "llama3_style", "prefix_digits"}) {
    CAPTURE(name);
    const auto tokenizer = make_tokenizer("hf:" + golden_path(name + ".json"));
    const auto cases = golden_cases(name);
    REQUIRE(cases.size() > 80);
    for (const GoldenCase& golden : cases) {
      CAPTURE(golden.text);
      CHECK(tokenizer->encode(golden.text) == golden.ids);
      if (name != "prefix_digits") CHECK(tokenizer->decode(golden.ids) == golden.text);
    }
  }
}

TEST_CASE("a tokenizer that travels in a weights file makes the same ids") {
  for (const std::string name : {"gpt2_style", "llama3_style", "prefix_digits"}) {
    CAPTURE(name);
    const auto original = make_tokenizer("hf:" + golden_path(name + ".json"));
    const auto restored = tokenizer_from_json(original->to_json());
    CHECK(restored->name() == original->name());
    CHECK(restored->vocabulary_size() == original->vocabulary_size());
    CHECK(restored->end_of_text() == original->end_of_text());
    for (const GoldenCase& golden : golden_cases(name)) {
      REQUIRE(restored->encode(golden.text) == golden.ids);
    }
  }
}

TEST_CASE("what is written for Hugging Face's libraries makes the same ids") {
  const ScratchDirectory scratch;
  const std::string specification = "hf:" + scratch.path().string();
  for (const std::string name : {"gpt2_style", "llama3_style", "prefix_digits"}) {
    CAPTURE(name);
    const auto original = make_tokenizer("hf:" + golden_path(name + ".json"));
    const auto text = tokenizer_from_json(original->to_json())->to_hugging_face();
    REQUIRE(text.has_value());
    write_file(scratch / "tokenizer.json", *text);
    const auto written = make_tokenizer(specification);
    CHECK(written->vocabulary_size() == original->vocabulary_size());
    CHECK(written->end_of_text() == original->end_of_text());
    for (const GoldenCase& golden : golden_cases(name)) {
      REQUIRE(written->encode(golden.text) == golden.ids);
    }
    auto theirs = golden_document(name), ours = nlohmann::json::parse(*text);
    CHECK(ours["added_tokens"] == theirs["added_tokens"]);
  }
  const auto bytes = make_tokenizer("bytes");
  write_file(scratch / "tokenizer.json", *bytes->to_hugging_face());
  const std::string text = "caf\u00e9 \xff\n";
  CHECK(make_tokenizer(specification)->encode(text) == bytes->encode(text));
  CHECK_FALSE(make_char_tokenizer(text.substr(0, 5))->to_hugging_face().has_value());
}

TEST_CASE("a piece is the same ids whether or not it was seen before") {
  const auto tokenizer = make_tokenizer("hf:" + golden_path("gpt2_style.json"));
  std::string text;
  // More pieces than are remembered, each of them twice and far apart.
  for (int i = 0; i < 156'000; ++i) {
    text += {'\n', static_cast<char>('a' + i % 26), '\n'};
    text += std::to_string(i % 78'000);
  }
  const auto ids = tokenizer->encode(text);
  const auto half = ids.size() / 2;
  CHECK(std::equal(ids.begin(), ids.begin() + 1000, ids.begin() + static_cast<long>(half)));
  CHECK(tokenizer->decode(ids) == text);
}

TEST_CASE("bytes that are not UTF-8 come back as they were") {
  const auto tokenizer = make_tokenizer("hf:" + golden_path("gpt2_style.json"));
  const auto plain = tokenizer->encode("the king");
  for (const std::string invalid :
       {"\xff", "\xc3", "\xed\xa0\x80", "\x80\x81\xfe", "\xf0\x9f\x98"}) {
    std::string text = "the king";
    text.append(invalid).append("the king").append(invalid);
    const auto ids = tokenizer->encode(text);
    CHECK(tokenizer->decode(ids) == text);
    CHECK(std::equal(plain.begin(), plain.end(), ids.begin()));
  }
}

}  // namespace train::test

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizer.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {

TEST_CASE("bytes and characters come back from JSON") {
  const std::string text = std::string("tab\t \"quoted\" \\ é 😀\n\x01", 26) + '\0';
  for (const auto& tokenizer : {make_tokenizer("bytes"), make_char_tokenizer(text)}) {
    CAPTURE(tokenizer->name());
    const auto restored = tokenizer_from_json(tokenizer->to_json());
    CHECK(restored->name() == tokenizer->name());
    CHECK(restored->encode(text) == tokenizer->encode(text));
    CHECK(restored->decode(restored->encode(text)) == text);
  }
}

TEST_CASE("JSON that is no tokenizer is refused") {
  const auto message = [](const std::string& json) {
    return message_of<Error>([&] { tokenizer_from_json(json); });
  };
  CHECK(contains(message(R"({"kind":"words"})"), "'words'"));
  CHECK(contains(message(R"({"kind":"chars","characters":"ba"})"), "order"));
  CHECK(contains(message(R"({"kind":"chars","characters":"aa"})"), "order"));
  CHECK(contains(message(R"({"kind":"chars","characters":""})"), "empty"));
  for (const char* json : {"", "null", "[]", "{}", R"({"kind":3})", R"({"kind":"chars"})",
                           R"({"kind":"bpe"})", "{\"kind\":\"chars\",\"characters\":\"\xff\"}"}) {
    CAPTURE(json);
    CHECK(contains(message(json), "saved tokenizer"));
  }
}

TEST_CASE("unknown specifications say what is known") {
  const auto message = [](const std::string& specification) {
    return message_of<Error>([&] { make_tokenizer(specification); });
  };
  CHECK(contains(message("gpt4"), "'gpt4'"));
  CHECK(contains(message(""), "gpt2:FILE"));
  CHECK(contains(message("chars"), "training text"));
}

}  // namespace train::test

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/tokenizer.hpp"
#include "libtrain/data/tokenizers/utf8.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {

using Ids = std::vector<std::int32_t>;

TEST_CASE("characters are numbered in code point order") {
  const auto tokenizer = make_char_tokenizer("hello 😀 wörld\n");
  CHECK(tokenizer->vocabulary_size() == 11);
  CHECK(tokenizer->encode("\n d😀ö") == Ids{0, 1, 2, 10, 9});
  CHECK(tokenizer->decode(tokenizer->encode("hello 😀")) == "hello 😀");
  CHECK_FALSE(tokenizer->end_of_text().has_value());
}

TEST_CASE("characters and ids that are not in the table are named") {
  const auto tokenizer = make_char_tokenizer("abc");
  CHECK(contains(message_of<Error>([&] { tokenizer->encode("ab\x01"); }), "U+0001 at byte 2"));
  CHECK(contains(message_of<Error>([&] { tokenizer->encode("ö"); }), "U+00F6 'ö' at byte 0"));
  CHECK(contains(message_of<Error>([&] { tokenizer->decode(Ids{3}); }), "id 3"));
  CHECK(contains(message_of<Error>([&] { tokenizer->decode(Ids{-1}); }), "id -1"));
  CHECK(contains(message_of<Error>([] { make_char_tokenizer(""); }), "empty"));
}

TEST_CASE("another tokenizer is advised where there is no model yet") {
  const auto made = make_char_tokenizer("abc");
  const auto saved = tokenizer_from_json(made->to_json());
  for (const char* text : {"ö", "\xff"}) {
    CAPTURE(text);
    CHECK(contains(message_of<Error>([&] { made->encode(text); }), "--tokenizer bytes"));
    CHECK(!contains(message_of<Error>([&] { saved->encode(text); }), "--tokenizer"));
  }
  CHECK(contains(message_of<Error>([&] { saved->encode("ö"); }),
                 "U+00F6 'ö' at byte 0 is not one of the 3 that the model knows"));
}

TEST_CASE("invalid UTF-8 is named with its place") {
  const std::vector<std::string> invalid = {"ab\x80",              // a trail without a lead
                                            "ab\xc3",              // an end within a character
                                            "ab\xc0\xaf",          // overlong
                                            "ab\xe0\x9f\xbf",      // overlong
                                            "ab\xf0\x8f\xbf\xbf",  // overlong
                                            "ab\xed\xa0\x80",      // a surrogate
                                            "ab\xf4\x90\x80\x80",  // beyond U+10FFFF
                                            "ab\xff",
                                            "ab\xe4\xb8\x28"};
  for (const std::string& text : invalid) {
    CAPTURE(text);
    CHECK(contains(message_of<Error>([&] { make_char_tokenizer(text); }), "byte 2 "));
  }
}

TEST_CASE("every code point survives UTF-8") {
  for (char32_t value = 0; value < 0x110000; ++value) {
    if (value >= 0xd800 && value <= 0xdfff) continue;
    std::string text;
    detail::append_utf8(text, value);
    const auto decoded = detail::decode_utf8(text, 0);
    REQUIRE(decoded.value == value);
    REQUIRE(decoded.bytes == text.size());
  }
}

TEST_CASE("bytes are their own ids") {
  const auto tokenizer = make_tokenizer("bytes");
  CHECK(tokenizer->encode(std::string("a\0\xff", 3)) == Ids{97, 0, 255});
  CHECK(tokenizer->decode(Ids{97, 0, 255}) == std::string("a\0\xff", 3));
  CHECK(contains(message_of<Error>([&] { tokenizer->decode(Ids{256}); }), "id 256"));
}

}  // namespace train::test

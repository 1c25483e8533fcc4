// The numbers are of Python's normal forms: tests/golden/nfc/make_nfc.py prints them.
#include "libtrain/data/tokenizers/nfc.hpp"

#include <cstdint>
#include <utility>

#include <doctest/doctest.h>

#include "libtrain/data/tokenizers/utf8.hpp"

namespace train::detail {
namespace {

// FNV-1a, 64 bits.
class Hash {
 public:
  void add(const std::string& bytes) {
    for (const char byte : bytes) {
      value_ = (value_ ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    }
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

constexpr std::pair<char32_t, char32_t> about[] = {
    {0x41, 0x5a},     {0x61, 0x6a},     {0xc0, 0x17f},    {0x300, 0x345},     {0x591, 0x5c7},
    {0x915, 0x95f},   {0x9be, 0x9dd},   {0xbbe, 0xbcc},   {0x1100, 0x1112},   {0x1161, 0x1175},
    {0x11a8, 0x11c2}, {0x1b05, 0x1b43}, {0x1e00, 0x1eff}, {0x212a, 0x212b},   {0x3040, 0x30ff},
    {0xac00, 0xac3b}, {0xfb1d, 0xfb4e}, {0xfe20, 0xfe2f}, {0x110a5, 0x110ba}, {0x1d15e, 0x1d16e}};

}  // namespace

TEST_CASE("characters of the first plane have Python's normal forms, alone and with marks") {
  Hash alone, marked;
  for (char32_t character = 0; character < 0x10000; ++character) {
    if (character >= 0xd800 && character < 0xe000) continue;
    std::string text;
    append_utf8(text, character);
    alone.add(to_nfc(text));
    marked.add(to_nfc(text + "\u0301\u0323"));
  }
  CHECK(alone.value() == 0xdba87a39095bfda6u);
  CHECK(marked.value() == 0xfc0d1f9ae61530bdu);
}

TEST_CASE("so have mixtures of characters that change, combine and change places") {
  std::uint64_t state = 1;
  const auto draw = [&](std::uint64_t count) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % count;
  };
  Hash mixtures;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (int j = 0; j < 8; ++j) {
      const auto [first, last] = about[draw(std::size(about))];
      append_utf8(text, first + static_cast<char32_t>(draw(last - first + 1)));
    }
    mixtures.add(to_nfc(text));
  }
  CHECK(mixtures.value() == 0x67f8bfdec82720bfu);
}

TEST_CASE("bytes that are no UTF-8 stay, and nothing combines over them") {
  CHECK(to_nfc("") == "");
  CHECK(to_nfc("e\u0301") == "\u00e9");
  CHECK(to_nfc("e\xff\u0301") == "e\xff\u0301");
  CHECK(to_nfc("\u0301") == "\u0301");
  CHECK(to_nfc("\xcc"
               "e\u0301\xf0\x9f") == "\xcc\u00e9\xf0\x9f");
}

}  // namespace train::detail

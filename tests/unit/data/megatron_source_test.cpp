#include "libtrain/data/megatron_source.hpp"

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {
namespace {

using Tokens = std::vector<std::int32_t>;

struct Pair {
  ScratchDirectory scratch;
  std::string index = (scratch / "d.idx").string();

  std::shared_ptr<const TokenSource> open(const std::string& index_bytes,
                                          const std::string& data) const {
    write_file(index, index_bytes);
    write_file(scratch / "d.bin", data);
    return open_megatron(index);
  }

  std::string message(const std::string& index_bytes, const std::string& data) const {
    return message_of<Error>([&] { open(index_bytes, data); });
  }
};

}  // namespace

TEST_CASE("every integer type of Megatron's index is read") {
  const Pair pair;
  const auto check = [&]<typename T>(std::uint8_t code, std::vector<T> values) {
    CAPTURE(int{code});
    constexpr std::int64_t width = sizeof(T);
    const MegatronIndex index{code, {2, 1}, {0, 2 * width}};
    const auto source = pair.open(index.bytes(), packed(values));
    CHECK(read_all(*source) == Tokens(values.begin(), values.end()));
  };
  check(1, std::vector<std::uint8_t>{0, 7, 255});
  check(2, std::vector<std::int8_t>{0, 7, 127});
  check(3, std::vector<std::int16_t>{0, 7, 32767});
  check(4, std::vector<std::int32_t>{0, 7, 2'000'000'000});
  check(5, std::vector<std::int64_t>{0, 7, 2'000'000'000});
  check(8, std::vector<std::uint16_t>{0, 7, 65535});
}

TEST_CASE("sequences follow the index, wherever they lie") {
  const Pair pair;
  const std::string data = packed<std::uint16_t>({10, 11, 12, 13, 14, 15});
  const MegatronIndex index{8, {2, 0, 3, 0}, {8, 2, 0, 0}};
  const auto source = pair.open(index.bytes(), data);
  CHECK(read_all(*source) == Tokens{14, 15, 10, 11, 12});
  Tokens middle(3);
  source->read(1, middle);
  CHECK(middle == Tokens{15, 10, 11});
}

TEST_CASE("optional modes at the end are accepted") {
  const Pair pair;
  const MegatronIndex index{8, {1, 1}, {0, 2}, {0, 2}, "ab"};
  CHECK(read_all(*pair.open(index.bytes(), packed<std::uint16_t>({3, 4}))) == Tokens{3, 4});
}

TEST_CASE("a damaged index is named with what is wrong") {
  const Pair pair;
  const std::string data = packed<std::uint16_t>({1, 2, 3});
  const std::string good = MegatronIndex{8, {3}, {0}}.bytes();
  REQUIRE(pair.message(good, data).empty());
  const auto check = [&](const std::string& index, const std::string& bin,
                         const std::string& expected) {
    const auto message = pair.message(index, bin);
    CAPTURE(message);
    CHECK(contains(message, pair.index));
    CHECK(contains(message, expected));
  };
  check("TNTIDX\0\0" + good.substr(8), data, "MMIDIDX");
  check("", data, "MMIDIDX");
  check(good.substr(0, good.size() - 1), data, "truncated");
  check(good + "xy", data, "damaged");
  check(good, data.substr(0, 5), "d.bin' of 5 bytes");
  check(MegatronIndex{6, {3}, {0}}.bytes(), data, "64-bit floats");
  check(MegatronIndex{7, {3}, {0}}.bytes(), data, "32-bit floats");
  check(MegatronIndex{9, {3}, {0}}.bytes(), data, "type code 9");
  check(MegatronIndex{8, {3}, {-2}}.bytes(), data, "at byte -2");
  check(MegatronIndex{8, {-3}, {0}}.bytes(), data, "-3 tokens");
  check(MegatronIndex{8, {0}, {0}}.bytes(), data, "no tokens");
  std::string version = good;
  version[9] = 2;
  check(version, data, "version 2, expected 1");
  std::string hostile = good;
  hostile.replace(18, 8, packed<std::uint64_t>({0x1555555555555556u}));  // 12 of them overflow
  check(hostile, data, "damaged");
}

TEST_CASE("negative and oversized values are refused where they are read") {
  const Pair pair;
  const auto source =
      pair.open(MegatronIndex{4, {3}, {0}}.bytes(), packed<std::int32_t>({1, -5, 2}));
  CHECK(contains(message_of<Error>([&] { read_all(*source); }), "d.bin', token 1: found -5"));
  const auto wide =
      pair.open(MegatronIndex{5, {2}, {0}}.bytes(), packed<std::int64_t>({1, 1LL << 32}));
  CHECK(contains(message_of<Error>([&] { read_all(*wide); }), "token 1: found 4294967296"));
}

TEST_CASE("an index without its .bin names the .bin") {
  const ScratchDirectory scratch;
  write_file(scratch / "d.idx", MegatronIndex{8, {3}, {0}}.bytes());
  CHECK(contains(message_of<Error>([&] { open_megatron((scratch / "d.idx").string()); }),
                 "d.bin': No such file"));
}

}  // namespace train::test

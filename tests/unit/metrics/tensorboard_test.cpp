#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/crc32c.hpp"
#include "collectives/error.hpp"
#include "libtrain/metrics/tensorboard_sink.hpp"
#include "tests/support/scratch_directory.hpp"

namespace {

std::uint64_t little_endian(const std::string& bytes, std::size_t at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = count; i-- > 0;)
    value = value << 8 | static_cast<std::uint8_t>(bytes.at(at + i));
  return value;
}

/// CRC-32C bit by bit, with TensorFlow's mask: an own derivation, no table.
std::uint32_t masked(const std::string& bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char byte : bytes) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc % 2 != 0 ? crc / 2 ^ 0x82f63b78u : crc / 2;
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> records;
  for (std::size_t at = 0; at < file.size();) {
    const std::size_t length = little_endian(file, at, 8);
    REQUIRE(little_endian(file, at + 8, 4) == masked(file.substr(at, 8)));
    records.push_back(file.substr(at + 12, length));
    REQUIRE(little_endian(file, at + 12 + length, 4) == masked(records.back()));
    at += 16 + length;
  }
  return records;
}

/// A protobuf message as field number → raw values: numbers as they are, bytes as strings.
struct Message {
  std::multimap<std::uint64_t, std::uint64_t> numbers;
  std::multimap<std::uint64_t, std::string> strings;

  explicit Message(const std::string& bytes) {
    std::size_t at = 0;
    auto varint = [&] {
      std::uint64_t value = 0;
      for (unsigned shift = 0;; shift += 7) {
        const auto byte = static_cast<std::uint8_t>(bytes.at(at++));
        value |= std::uint64_t{byte & 0x7fu} << shift;
        if (byte < 0x80) return value;
      }
    };
    while (at < bytes.size()) {
      const std::uint64_t key = varint();
      if (key % 8 == 0) numbers.emplace(key / 8, varint());
      if (key % 8 == 2) {
        const std::uint64_t length = varint();
        REQUIRE(at + length <= bytes.size());
        strings.emplace(key / 8, bytes.substr(at, length));
        at += length;
      }
      if (key % 8 == 1 || key % 8 == 5) {
        const std::size_t width = key % 8 == 1 ? 8 : 4;
        numbers.emplace(key / 8, little_endian(bytes, at, width));
        at += width;
      }
    }
  }
};

std::map<std::string, float> scalars_of(const Message& event) {
  std::map<std::string, float> scalars;
  const Message summary(event.strings.find(5)->second);
  for (auto [begin, end] = summary.strings.equal_range(1); begin != end; ++begin) {
    const Message value(begin->second);
    scalars[value.strings.find(1)->second] =
        std::bit_cast<float>(static_cast<std::uint32_t>(value.numbers.find(2)->second));
  }
  return scalars;
}

}  // namespace

TEST_CASE("CRC-32C gives the published check values") {
  CHECK(train::crc32c("") == 0u);
  CHECK(train::crc32c("123456789") == 0xe3069283u);
  // RFC 3720, appendix B.4.
  CHECK(train::crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(train::crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
}

TEST_CASE("Event files read back by an independent decoder") {
  const train::test::ScratchDirectory scratch;
  train::TensorBoardSink sink(scratch / "logs/run");
  CHECK(sink.path().filename().string().find("tfevents") != std::string::npos);
  sink.write({.step = 1, .tokens = 512, .loss = 2.5, .lr = 1e-3});
  sink.write({.step = 300'000,
              .loss = std::numeric_limits<double>::quiet_NaN(),
              .val_loss = 3,
              .val_losses = {{"web", 4}}});

  const auto records = records_of(train::test::read_file(sink.path()));
  REQUIRE(records.size() == 3);
  CHECK(Message(records[0]).strings.find(3)->second == "brain.Event:2");
  CHECK(std::bit_cast<double>(Message(records[0]).numbers.find(1)->second) > 1.6e9);

  const Message first(records[1]);
  CHECK(first.numbers.find(2)->second == 1);
  const auto scalars = scalars_of(first);
  CHECK(scalars.at("loss") == 2.5f);
  CHECK(scalars.at("lr") == 1e-3f);
  CHECK(scalars.at("tokens") == 512.0f);
  CHECK(scalars.count("val_loss") == 0);

  const Message second(records[2]);
  CHECK(second.numbers.find(2)->second == 300'000);
  CHECK(std::isnan(scalars_of(second).at("loss")));
  CHECK(scalars_of(second).at("val_loss") == 3.0f);
  CHECK(scalars_of(second).at("val_loss_web") == 4.0f);
}

TEST_CASE("A resumed run says from which step on earlier files do not count") {
  const train::test::ScratchDirectory scratch;
  train::TensorBoardSink sink(scratch.path(), /*goes_on=*/true);
  for (const std::int64_t step : {41, 42}) sink.write({.step = step});
  const auto records = records_of(train::test::read_file(sink.path()));
  REQUIRE(records.size() == 4);
  const Message start(records[1]);
  CHECK(start.numbers.find(2)->second == 41);
  // tensorflow.SessionLog: status = START.
  CHECK(Message(start.strings.find(7)->second).numbers.find(1)->second == 1);
}

TEST_CASE("A directory that cannot be made is refused with its name") {
  const train::test::ScratchDirectory scratch;
  train::test::write_file(scratch / "file", "");
  const std::string message =
      train::test::message_of<train::Error>([&] { train::TensorBoardSink(scratch / "file/logs"); });
  CAPTURE(message);
  CHECK(message.find((scratch / "file").string()) != std::string::npos);
}

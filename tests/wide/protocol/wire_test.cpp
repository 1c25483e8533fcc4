#include "collectives/wide/protocol/wire.hpp"

#include <set>

#include <doctest/doctest.h>

#include "tests/wide/protocol/random_messages.hpp"

using namespace train::wide;

TEST_CASE("every message comes back as it was") {
  RandomMessages random(1);
  std::set<std::size_t> kinds;
  for (int i = 0; i < 2'000; ++i) {
    const Message message = random.message();
    kinds.insert(message.index());
    const Bytes frame = encode(message);
    const Decoded decoded = decode(frame);
    REQUIRE_MESSAGE(decoded.message, decoded.error);
    CHECK(decoded.message->index() == message.index());
    CHECK(encode(*decoded.message) == frame);
  }
  CHECK(kinds.size() == std::variant_size_v<Message>);
}

TEST_CASE("fields keep their values") {
  const Ready ready{{1, 2, 3}, 4, 5, 6, RangeSet({7, 8}), 9};
  const Decoded decoded = decode(encode(ready));
  const auto& back = std::get<Ready>(*decoded.message);
  CHECK(back.next == ready.next);
  CHECK(back.tokens == 4);
  CHECK(back.inner_steps == 5);
  CHECK(back.state_hash == 6);
  CHECK(back.used == ready.used);
  CHECK(back.bandwidth_kbit == 9);
}

TEST_CASE("the form on the wire is fixed") {
  const Bytes frame = encode(Done{{1, 2, 3}, 0x0102030405060708});
  const unsigned char expected[] = {'T', 'W', 3, 0, 29, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0,
                                    0,   0,   0, 0, 0,  0, 3, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1};
  REQUIRE(frame.size() == sizeof(expected));
  for (std::size_t i = 0; i < frame.size(); ++i) {
    CHECK(static_cast<unsigned char>(frame[i]) == expected[i]);
  }
}

TEST_CASE("a frame cut short or too long is an error") {
  RandomMessages random(2);
  for (int i = 0; i < 50; ++i) {
    Bytes frame = encode(random.message());
    for (std::size_t length = 0; length < frame.size(); ++length) {
      CHECK_FALSE(decode(std::span<const std::byte>(frame).first(length)).message);
      // With a header that agrees with what is left.
      if (length <= frame_header_bytes) continue;
      Bytes shorter(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length));
      shorter[4] = static_cast<std::byte>(length - frame_header_bytes);
      shorter[5] = static_cast<std::byte>((length - frame_header_bytes) >> 8);
      CHECK_FALSE(decode(shorter).message);
    }
    frame.push_back(std::byte{0});
    CHECK_FALSE(decode(frame).message);
  }
}

TEST_CASE("any bytes give a message or an error") {
  constexpr std::uint64_t seed = 3;
  CAPTURE(seed);
  RandomMessages random(seed);
  int messages = 0;
  for (int i = 0; i < 100'000; ++i) {
    Bytes frame = encode(random.message());
    for (std::uint64_t flips = 1 + random.below(3); flips > 0; --flips) {
      frame[random.below(frame.size())] = static_cast<std::byte>(random.below(256));
    }
    const Decoded decoded = decode(frame);
    CHECK(decoded.message.has_value() == decoded.error.empty());
    if (!decoded.message) continue;
    ++messages;
    CHECK(encode(*decoded.message) == frame);  // one form for each message
  }
  CHECK(messages > 1'000);
}

TEST_CASE("an announced length takes no memory") {
  Writer writer;
  writer(std::uint8_t{2}, std::uint32_t{0xffffffff});  // Links, of four thousand million peers
  Bytes frame = encode(Heartbeat{});
  frame.resize(frame_header_bytes);
  frame[4] = static_cast<std::byte>(writer.bytes.size());
  frame.insert(frame.end(), writer.bytes.begin(), writer.bytes.end());
  CHECK_FALSE(decode(frame).message);
}

TEST_CASE("headers say what is wrong") {
  Bytes frame = encode(Heartbeat{1});
  const auto error_with = [&](std::size_t at, int value) {
    Bytes bad = frame;
    bad[at] = static_cast<std::byte>(value);
    return decode(bad).error;
  };
  CHECK(decode(frame).error.empty());
  CHECK(error_with(0, 'X').find("not a frame") != std::string::npos);
  CHECK(error_with(2, 9).find("version 9") != std::string::npos);
  CHECK(error_with(7, 1).find("allowed are") != std::string::npos);
}

#include "collectives/wide/stream/io/frame.hpp"

#include "collectives/wide/stream/link.hpp"

namespace train::wide::detail {
namespace {

constexpr std::uint8_t version = 2;

struct Lengths {
  std::size_t least, most;
};

Lengths lengths_of(FrameType type) {
  switch (type) {
    case FrameType::hello:
      return {1, hello_bytes_max};
    case FrameType::message:
      return {0, Link::message_bytes_max};
    case FrameType::received:
    case FrameType::have:
      return {0, 0};
    case FrameType::grant:
      return {grant_bytes, grant_bytes};
    case FrameType::chunk:
      return {1, chunk_bytes_max + 1};
    case FrameType::gone:
    case FrameType::refuse:
    case FrameType::bye:
      return {0, reason_bytes_max};
  }
  return {1, 0};  // no such type: no length fits
}

}  // namespace

void put_integer(std::span<std::byte> bytes, std::uint64_t value) {
  for (auto& byte : bytes) {
    byte = static_cast<std::byte>(value & 0xff);
    value >>= 8;
  }
}

std::uint64_t get_integer(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  }
  return value;
}

HeaderBytes encode(const FrameHeader& header) {
  HeaderBytes bytes;
  const std::span<std::byte> all = bytes;
  bytes[0] = std::byte{'L'};
  bytes[1] = std::byte{'T'};
  bytes[2] = std::byte{version};
  bytes[3] = static_cast<std::byte>(header.type);
  put_integer(all.subspan(4, 4), header.length);
  put_integer(all.subspan(8, 8), header.key);
  put_integer(all.subspan(16, 8), header.value);
  return bytes;
}

std::string decode(std::span<const std::byte, header_bytes> bytes, FrameHeader& header) {
  if (bytes[0] != std::byte{'L'} || bytes[1] != std::byte{'T'}) return "does not speak libtrain";
  if (bytes[2] != std::byte{version}) {
    return "speaks version " + std::to_string(std::to_integer<int>(bytes[2])) +
           " of the streams' protocol, this end speaks version " + std::to_string(version);
  }
  const auto type = std::to_integer<std::uint8_t>(bytes[3]);
  if (type < static_cast<std::uint8_t>(FrameType::hello) ||
      type > static_cast<std::uint8_t>(FrameType::bye)) {
    return "sent a frame of the unknown type " + std::to_string(type);
  }
  header.type = static_cast<FrameType>(type);
  header.length = static_cast<std::uint32_t>(get_integer(bytes.subspan<4, 4>()));
  header.key = get_integer(bytes.subspan<8, 8>());
  header.value = get_integer(bytes.subspan<16, 8>());
  const auto [least, most] = lengths_of(header.type);
  if (header.length < least || header.length > most) {
    return "sent a frame of type " + std::to_string(type) + " with " +
           std::to_string(header.length) + " bytes, where " + std::to_string(least) + " to " +
           std::to_string(most) + " are allowed";
  }
  return {};
}

}  // namespace train::wide::detail

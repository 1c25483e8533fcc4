#include "collectives/wide/protocol/wire.hpp"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "collectives/wide/protocol/message_fields.hpp"

namespace train::wide {
namespace {

constexpr std::array names{
    "Hello", "Heartbeat",   "Links", "LeaseRequest", "Ready",    "Done",    "Failed",
    "Holds", "FetchFailed", "Leave", "Directory",    "Lease",    "Finish",  "Start",
    "Abort", "Commit",      "Fetch", "Beat",         "Released", "Refused", "Notice"};
static_assert(names.size() == std::variant_size_v<Message>);

}  // namespace

const char* name_of(const Message& message) {
  return names[message.index()];
}

Bytes encode(const Message& message) {
  Writer writer;
  writer(std::uint8_t{'T'}, std::uint8_t{'W'}, wire_version, std::uint8_t{0}, std::uint32_t{0});
  writer(message);
  const std::size_t payload = writer.bytes.size() - frame_header_bytes;
  if (payload > frame_bytes_max) {
    throw Error(
        fmt::format("a {} message of {} bytes is longer than a frame may be ({} bytes): "
                    "the sample ranges are too fragmented",
                    name_of(message), payload, frame_bytes_max));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    writer.bytes[4 + i] = static_cast<std::byte>(payload >> (8 * i));
  }
  return std::move(writer.bytes);
}

FrameHeader decode_header(std::span<const std::byte> header) {
  Reader reader(header);
  std::uint8_t t = 0, w = 0, version = 0, reserved = 0;
  std::uint32_t payload = 0;
  reader(t, w, version, reserved, payload);
  if (!reader.complete()) return {0, "a header of the wrong length"};
  if (t != 'T' || w != 'W') return {0, "not a frame of libtrain's wide-area protocol"};
  if (version != wire_version) {
    return {0, fmt::format("protocol version {}, this program speaks {}", version, wire_version)};
  }
  if (reserved != 0) return {0, "a reserved byte is set"};
  if (payload == 0 || payload > frame_bytes_max) {
    return {0, fmt::format("a frame of {} bytes, allowed are 1 to {}", payload, frame_bytes_max)};
  }
  return {payload, ""};
}

Decoded decode(std::span<const std::byte> frame) {
  if (frame.size() < frame_header_bytes) return {std::nullopt, "a frame shorter than its header"};
  const FrameHeader header = decode_header(frame.first(frame_header_bytes));
  if (!header.error.empty()) return {std::nullopt, header.error};
  if (frame.size() - frame_header_bytes != header.payload_bytes) {
    return {std::nullopt, "a frame of another length than announced"};
  }
  Reader reader(frame.subspan(frame_header_bytes));
  Message message;
  reader(message);
  if (!reader.complete()) {
    return {std::nullopt, fmt::format("a damaged {} message", name_of(message))};
  }
  return {std::move(message), ""};
}

}  // namespace train::wide

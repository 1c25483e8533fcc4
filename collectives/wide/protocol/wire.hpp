#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "collectives/wide/protocol/archive.hpp"
#include "collectives/wide/protocol/messages.hpp"

namespace train::wide {

// A frame: 'T' 'W', version (1 byte), reserved 0 (1 byte), payload length (4 bytes, little-endian),
// payload (type byte and fields). Streams are TLS, so there is no checksum.

inline constexpr std::uint8_t wire_version = 3;
inline constexpr std::size_t frame_header_bytes = 8;
inline constexpr std::size_t frame_bytes_max = std::size_t{1} << 20;

/// One frame. Throws Error if the message is longer than a frame may be.
Bytes encode(const Message& message);

struct FrameHeader {
  std::size_t payload_bytes = 0;
  std::string error;  // empty: the header is good
};
/// Reads a header of frame_header_bytes bytes: how much to receive next, or why not.
FrameHeader decode_header(std::span<const std::byte> header);

struct Decoded {
  std::optional<Message> message;
  std::string error;  // why there is no message
};
/// Reads one whole frame. Total: any bytes give a message or an error, in time and memory linear in
/// their count.
Decoded decode(std::span<const std::byte> frame);

}  // namespace train::wide

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "collectives/wide/protocol/archive.hpp"
#include "collectives/wide/protocol/state.hpp"

namespace train::wide {

// The journal is a file of frames: marker "TJ" + version + 0 (4 bytes), payload length (4), CRC-32C
// of those 8 bytes (4), CRC-32C of the payload (4), payload. A frame holds one record and is made
// durable (fsync) before the next is written, so only the last frame can be torn. The header has a
// checksum of its own, so that a frame's end is known although its payload is not whole.

inline constexpr std::uint8_t journal_version = 4;
inline constexpr std::size_t journal_header_bytes = 16;

/// The frame of one record: append it, fsync.
Bytes journal_frame(const Record& record);

struct Replay {
  State state;
  std::uint64_t records = 0;
  std::size_t valid_bytes = 0;  // cut the file here before appending to it
  bool torn = false;            // bytes after valid_bytes were dropped
  std::string error;            // not empty: damaged other than by a torn write; do not go on
};
/// Reads a whole journal. Total: any bytes give a state or an error.
Replay replay(std::span<const std::byte> journal);

}  // namespace train::wide

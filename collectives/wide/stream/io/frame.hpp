#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace train::wide::detail {

/// What streams carry. Each frame is a header of 24 bytes and `length` bytes more:
///
///   | offset | bytes | field                                                      |
///   |--------|-------|------------------------------------------------------------|
///   | 0      | 2     | magic 'L' 'T'                                              |
///   | 2      | 1     | version 2                                                  |
///   | 3      | 1     | type                                                       |
///   | 4      | 4     | length, little-endian like all that follows                |
///   | 8      | 8     | key                                                        |
///   | 16     | 8     | value                                                      |
///
/// Grants are numbers that the receiver of a transfer makes; they are never used twice, so that a
/// late chunk can never land in a later transfer.
enum class FrameType : std::uint8_t {
  hello = 1,     // key: session; body: see Hello
  message = 2,   // key: sequence number from 1; body: the message
  received = 3,  // key: highest sequence number that arrived
  grant = 4,     // key: grant, value: transfer id; body: total bytes (8), chunk bytes (4)
  chunk = 5,     // key: grant, value: offset; body: the bytes, then 1 if they are good, else 0
  have = 6,      // key: grant, value: offset: this chunk is in the receiver's memory
  gone = 7,      // key: grant, from the receiver: will not take it. body: reason
  refuse = 8,    // key: grant, from the sender: will not send it. body: reason
  bye = 9,       // the link closes. key: 0, or the session for which it does; body: reason
};

struct FrameHeader {
  FrameType type = FrameType::bye;
  std::uint32_t length = 0;
  std::uint64_t key = 0, value = 0;
};

constexpr std::size_t header_bytes = 24;
constexpr std::size_t chunk_bytes_min = 4 << 10, chunk_bytes_max = 4 << 20;
constexpr std::size_t reason_bytes_max = 512, hello_bytes_max = 512, grant_bytes = 12;

/// A transfer of no bytes is one empty chunk, so that its receiver still learns of its sender.
constexpr std::size_t chunk_count(std::size_t bytes, std::size_t chunk_bytes) {
  return bytes == 0 ? 1 : (bytes + chunk_bytes - 1) / chunk_bytes;
}

using HeaderBytes = std::array<std::byte, header_bytes>;

HeaderBytes encode(const FrameHeader& header);

/// Reads any 24 bytes. Returns why they are no header, or a length that its type forbids; empty if
/// all is well.
std::string decode(std::span<const std::byte, header_bytes> bytes, FrameHeader& header);

void put_integer(std::span<std::byte> bytes, std::uint64_t value);
std::uint64_t get_integer(std::span<const std::byte> bytes);

}  // namespace train::wide::detail

#include "collectives/wide/protocol/journal.hpp"

#include <utility>

#include <fmt/format.h>

#include "collectives/crc32c.hpp"

namespace train::wide {
namespace {

constexpr std::size_t header_bytes = 12;
constexpr std::size_t payload_bytes_max = std::size_t{1} << 24;

std::uint32_t checksum(std::span<const std::byte> head, std::span<const std::byte> payload) {
  // The length is covered too: a frame cannot be cut short and still fit.
  const std::uint64_t seed = crc32c(head);
  Writer writer;
  writer(seed);
  return crc32c(payload) ^ crc32c(writer.bytes);
}

/// The payload of the frame at the start of `bytes`, empty if there is no whole one.
std::span<const std::byte> frame_payload(std::span<const std::byte> bytes) {
  if (bytes.size() < header_bytes) return {};
  Reader reader(bytes.first(header_bytes));
  std::uint8_t t = 0, j = 0, version = 0, reserved = 0;
  std::uint32_t length = 0, crc = 0;
  reader(t, j, version, reserved, length, crc);
  if (t != 'T' || j != 'J' || version != journal_version || reserved != 0) return {};
  if (length == 0 || length > payload_bytes_max || length > bytes.size() - header_bytes) return {};
  const auto payload = bytes.subspan(header_bytes, length);
  return checksum(bytes.first(8), payload) == crc ? payload : std::span<const std::byte>{};
}

/// Whether a whole frame lies anywhere in `bytes`: then what precedes it was not a torn write.
bool holds_frame(std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at + header_bytes <= bytes.size(); ++at) {
    if (!frame_payload(bytes.subspan(at)).empty()) return true;
  }
  return false;
}

}  // namespace

Bytes journal_frame(const Record& record) {
  Writer payload;
  payload(record);
  invariant(payload.bytes.size() <= payload_bytes_max, "a journal record is too long");
  Writer frame;
  frame(std::uint8_t{'T'}, std::uint8_t{'J'}, journal_version, std::uint8_t{0},
        static_cast<std::uint32_t>(payload.bytes.size()));
  const std::uint32_t crc = checksum(frame.bytes, payload.bytes);
  frame(crc);
  frame.bytes.insert(frame.bytes.end(), payload.bytes.begin(), payload.bytes.end());
  return std::move(frame.bytes);
}

Replay replay(std::span<const std::byte> journal) {
  Replay result;
  while (result.valid_bytes < journal.size()) {
    const auto rest = journal.subspan(result.valid_bytes);
    const auto payload = frame_payload(rest);
    if (payload.empty()) {
      result.torn = true;
      if (holds_frame(rest.subspan(1))) {
        result.error = fmt::format("the journal is damaged at byte {}, with good records after it",
                                   result.valid_bytes);
      }
      return result;
    }
    Record record;
    Reader reader(payload);
    reader(record);
    std::string reason = reader.complete() ? refusal(result.state, record) : "an unreadable record";
    if (!reason.empty()) {
      result.error = fmt::format("the journal's record {} at byte {} cannot be: {}", result.records,
                                 result.valid_bytes, reason);
      return result;
    }
    fold(result.state, record);
    ++result.records;
    result.valid_bytes += header_bytes + payload.size();
  }
  return result;
}

}  // namespace train::wide

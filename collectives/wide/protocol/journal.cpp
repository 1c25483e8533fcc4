#include "collectives/wide/protocol/journal.hpp"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "collectives/crc32c.hpp"

namespace train::wide {
namespace {

constexpr std::size_t payload_bytes_max = std::size_t{1} << 24;

struct Header {
  std::uint32_t length = 0, payload_crc = 0;
};

/// The header at the start of `bytes`, if a good one is there.
std::optional<Header> good_header(std::span<const std::byte> bytes) {
  if (bytes.size() < journal_header_bytes) return {};
  Reader reader(bytes.first(journal_header_bytes));
  std::uint8_t t = 0, j = 0, version = 0, reserved = 0;
  std::uint32_t header_crc = 0;
  Header header;
  reader(t, j, version, reserved, header.length, header_crc, header.payload_crc);
  if (t != 'T' || j != 'J' || version != journal_version || reserved != 0) return {};
  if (header.length == 0 || header.length > payload_bytes_max) return {};
  if (header_crc != crc32c(bytes.first(8))) return {};
  return header;
}

/// Whether a header is anywhere in `bytes`: then what precedes it was not the last write.
bool holds_header(std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at + journal_header_bytes <= bytes.size(); ++at) {
    if (good_header(bytes.subspan(at))) return true;
  }
  return false;
}

/// What is at the start of `bytes`: a frame's payload; or a torn write, which is always the last;
/// or else something is wrong.
struct Frame {
  std::span<const std::byte> payload;
  bool torn = false;
};
Frame next_frame(std::span<const std::byte> bytes) {
  const std::optional<Header> header = good_header(bytes);
  if (!header) return {{}, !holds_header(bytes)};
  const auto rest = bytes.subspan(journal_header_bytes);
  if (header->length > rest.size()) return {{}, true};
  const auto payload = rest.first(header->length);
  if (crc32c(payload) == header->payload_crc) return {payload, false};
  return {{}, header->length == rest.size()};
}

/// Why a file that begins like this is no journal that can be read; empty if it may be one.
std::string strange_beginning(std::span<const std::byte> journal) {
  // A crash can leave a file as long as the write would have made it, and nothing written there.
  while (!journal.empty() && journal.back() == std::byte{0})
    journal = journal.first(journal.size() - 1);
  const auto differs = [&](std::size_t at, unsigned expected) {
    return journal.size() > at && journal[at] != std::byte(expected);
  };
  if (differs(0, 'T') || differs(1, 'J')) return "it does not begin at byte 0 as a journal does";
  if (!differs(2, journal_version)) return "";
  return fmt::format("it says at byte 2 that its version is {}, and this program reads version {}",
                     std::to_integer<unsigned>(journal[2]), journal_version);
}

}  // namespace

Bytes journal_frame(const Record& record) {
  Writer payload;
  payload(record);
  invariant(payload.bytes.size() <= payload_bytes_max, "a journal record is too long");
  Writer frame;
  frame(std::uint8_t{'T'}, std::uint8_t{'J'}, journal_version, std::uint8_t{0},
        static_cast<std::uint32_t>(payload.bytes.size()));
  const std::uint32_t header_crc = crc32c(frame.bytes), payload_crc = crc32c(payload.bytes);
  frame(header_crc, payload_crc);
  frame.bytes.insert(frame.bytes.end(), payload.bytes.begin(), payload.bytes.end());
  return std::move(frame.bytes);
}

Replay replay(std::span<const std::byte> journal) {
  Replay result;
  result.error = strange_beginning(journal);
  while (result.error.empty() && result.valid_bytes < journal.size()) {
    const auto [payload, torn] = next_frame(journal.subspan(result.valid_bytes));
    result.torn = torn;
    if (payload.empty() && !torn) {
      result.error = fmt::format("the journal is damaged at byte {}, and goes on after it",
                                 result.valid_bytes);
    }
    if (payload.empty()) return result;
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
    result.valid_bytes += journal_header_bytes + payload.size();
  }
  return result;
}

}  // namespace train::wide

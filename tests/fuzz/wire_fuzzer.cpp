// Any bytes give a message or an error, and what gives a message is its only form.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "collectives/wide/protocol/wire.hpp"

namespace {

using namespace train::wide;

void check(std::span<const std::byte> frame) {
  const Decoded decoded = decode(frame);
  if (decoded.message.has_value() != decoded.error.empty()) std::abort();
  if (!decoded.message) return;
  const Bytes again = encode(*decoded.message);
  if (!std::equal(again.begin(), again.end(), frame.begin(), frame.end())) std::abort();
}

/// With a header that fits, which chance would hardly find after each change of the length.
Bytes framed(std::span<const std::byte> payload) {
  Writer writer;
  writer(std::uint8_t{'T'}, std::uint8_t{'W'}, wire_version, std::uint8_t{0},
         static_cast<std::uint32_t>(payload.size()));
  writer.bytes.insert(writer.bytes.end(), payload.begin(), payload.end());
  return std::move(writer.bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  check(bytes);
  check(framed(bytes));
  if (size > frame_header_bytes) check(framed(bytes.subspan(frame_header_bytes)));
  return 0;
}

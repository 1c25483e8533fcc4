#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace train::wide {

// A link delivers its messages over lost streams; the protocol wants connections that end. So each
// message begins with the number of the connection that it belongs to (8 bytes, little-endian),
// which the member's end chooses anew for each. Nothing after the number: the connection is closed.

struct Numbered {
  std::uint64_t number = 0;
  std::span<const std::byte> content;
};

std::vector<std::byte> with_number(std::uint64_t number, std::span<const std::byte> content);
/// Nothing if there is no number. `content` lies in `message`.
std::optional<Numbered> split_number(std::span<const std::byte> message);

}  // namespace train::wide

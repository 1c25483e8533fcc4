#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "collectives/wide/stream/io/frame.hpp"
#include "collectives/wide/stream/peer_name.hpp"

namespace train::wide::detail {

/// How both ends of a stream introduce themselves, the dialling end first.
struct Hello {
  /// A number that one end of a link draws when it is made, and again when it must not go on where
  /// a peer that it has forgotten left off: another one means that the end knows nothing of what
  /// was under way. Those of one process grow, and those of a process that began later are greater.
  std::uint64_t session = 0;
  /// The dialling end's number of the stream: replaces an earlier one of the same number.
  std::uint32_t stream = 0;
  PeerName from, to;
};

/// A whole frame.
std::vector<std::byte> encode(const Hello& hello);

/// Reads any bytes; nothing if they are no hello. `session` is the header's key.
std::optional<Hello> decode_hello(std::uint64_t session, std::span<const std::byte> body);

/// Whether a cluster, or a job, may be called so: 1 to 63 letters, digits, '-', '_', '.'; neither
/// '-' nor '.' comes first.
bool valid_name(const std::string& name);

}  // namespace train::wide::detail

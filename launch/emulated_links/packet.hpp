#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace train::emulation {

/// What a TUN device hands out: the kernel's offload header (struct virtio_net_hdr), then IPv4.
/// With segmentation offload one packet stands for up to 45 that would cross a wire.
struct Packet {
  std::unique_ptr<std::byte[]> bytes;
  std::size_t size = 0;
  std::uint32_t wire_packets = 0;
  /// IP headers included, the link layer's are not.
  std::uint32_t wire_bytes = 0;
  /// What TCP or UDP carries; of other protocols, everything behind IP's header.
  std::uint32_t payload_bytes = 0;
};

/// What to know of a packet, from its headers.
struct PacketFacts {
  std::uint32_t source, destination;  ///< IPv4, in the host's order
  std::uint32_t wire_packets, wire_bytes, payload_bytes;
};

/// Nothing if `bytes` (offload header first) are not an IPv4 packet, or are damaged.
std::optional<PacketFacts> facts_of(std::span<const std::byte> bytes);

/// A copy of `bytes`.
Packet make_packet(std::span<const std::byte> bytes, const PacketFacts& facts);

}  // namespace train::emulation

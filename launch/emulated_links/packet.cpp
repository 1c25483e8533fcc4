#include "launch/emulated_links/packet.hpp"

#include <algorithm>
#include <cstring>

#include <netinet/in.h>

namespace train::emulation {
namespace {

// struct virtio_net_hdr; the kernel's own header for it is not C++.
struct OffloadHeader {
  std::uint8_t flags, segmentation;
  std::uint16_t header_bytes, segment_bytes, checksum_start, checksum_offset;
};
constexpr std::size_t offload_bytes = sizeof(OffloadHeader);

std::uint32_t byte_at(std::span<const std::byte> bytes, std::size_t place) {
  return std::to_integer<std::uint32_t>(bytes[place]);
}

std::uint32_t word_at(std::span<const std::byte> bytes, std::size_t place) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < 4; ++i) word = word << 8 | byte_at(bytes, place + i);
  return word;
}

// Headers of IP and of what it carries; nothing if they do not fit.
std::optional<std::size_t> header_bytes(std::span<const std::byte> packet, std::size_t ip_bytes) {
  std::size_t bytes = ip_bytes;
  if (byte_at(packet, 9) == IPPROTO_TCP) {
    if (packet.size() < ip_bytes + 20) return std::nullopt;
    bytes += 4 * (byte_at(packet, ip_bytes + 12) >> 4);
  } else if (byte_at(packet, 9) == IPPROTO_UDP) {
    bytes += 8;
  }
  return bytes <= packet.size() ? std::optional(bytes) : std::nullopt;
}

}  // namespace

std::optional<PacketFacts> facts_of(std::span<const std::byte> bytes) {
  if (bytes.size() < offload_bytes + 20) return std::nullopt;
  OffloadHeader offload{};
  std::memcpy(&offload, bytes.data(), offload_bytes);
  const auto packet = bytes.subspan(offload_bytes);
  const std::size_t ip_bytes = 4 * (byte_at(packet, 0) & 15);
  if (byte_at(packet, 0) >> 4 != 4 || ip_bytes < 20 || ip_bytes > packet.size()) {
    return std::nullopt;
  }
  const auto headers = header_bytes(packet, ip_bytes);
  if (!headers) return std::nullopt;
  const auto payload = static_cast<std::uint32_t>(packet.size() - *headers);
  std::uint32_t packets = 1;
  if (offload.segmentation != 0 && offload.segment_bytes > 0) {
    packets =
        std::max<std::uint32_t>(1, (payload + offload.segment_bytes - 1) / offload.segment_bytes);
  }
  return PacketFacts{.source = word_at(packet, 12),
                     .destination = word_at(packet, 16),
                     .wire_packets = packets,
                     .wire_bytes = payload + packets * static_cast<std::uint32_t>(*headers),
                     .payload_bytes = payload};
}

Packet make_packet(std::span<const std::byte> bytes, const PacketFacts& facts) {
  Packet packet{.bytes = std::make_unique_for_overwrite<std::byte[]>(bytes.size()),
                .size = bytes.size(),
                .wire_packets = facts.wire_packets,
                .wire_bytes = facts.wire_bytes,
                .payload_bytes = facts.payload_bytes};
  std::memcpy(packet.bytes.get(), bytes.data(), bytes.size());
  return packet;
}

}  // namespace train::emulation

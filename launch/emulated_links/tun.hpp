#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace train::emulation {

/// A TUN device inside a network namespace: what processes there send to other ports comes out
/// here. Gone with this object.
class Tun {
 public:
  /// Makes the device, called `device`, in the namespace that the file `space` stands for (say
  /// /proc/PID/ns/net), with `address` ("10.77.0.1") and all of its /24 behind it; the loopback
  /// device of the namespace goes up, too. Throws std::system_error that says which step failed.
  Tun(const std::string& space, const std::string& device, const std::string& address);
  Tun(Tun&& other) noexcept;
  Tun(const Tun&) = delete;
  Tun& operator=(const Tun&) = delete;
  Tun& operator=(Tun&&) = delete;
  ~Tun();

  int file() const { return file_; }
  std::uint32_t address() const { return address_; }

  /// With segmentation offload one read brings many packets of one connection, which costs a tenth;
  /// without, packets are what a wire would carry, as losing single ones needs.
  void set_segmentation_offload(bool is_on);

  /// One packet, offload header first; nothing if none is there. Throws when the namespace's device
  /// is gone.
  std::optional<std::span<std::byte>> read(std::span<std::byte> buffer);
  /// The kernel may refuse a packet, as it may on any wire.
  void write(std::span<const std::byte> packet);

 private:
  int file_ = -1;
  std::uint32_t address_ = 0;
};

}  // namespace train::emulation

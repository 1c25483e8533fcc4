#include "launch/emulated_links/tun.hpp"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace train::emulation {
namespace {

int must(int result, const std::string& what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

/// A descriptor that closes itself.
struct File {
  explicit File(int opened) : number(opened) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::close(number); }
  const int number;
};

/// This thread is in another network namespace while the object lives.
class Visit {
 public:
  explicit Visit(const std::string& space)
      : home_(must(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "/proc/self/ns/net")) {
    const File there(must(::open(space.c_str(), O_RDONLY | O_CLOEXEC), space));
    must(::setns(there.number, CLONE_NEWNET), "entering the network namespace " + space);
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  ~Visit() { ::setns(home_.number, CLONE_NEWNET); }

 private:
  File home_;
};

ifreq request_for(const std::string& device) {
  ifreq request{};
  if (device.empty() || device.size() >= sizeof request.ifr_name) {
    throw std::invalid_argument("a device's name has 1 to 15 letters, not \"" + device + "\"");
  }
  std::memcpy(request.ifr_name, device.c_str(), device.size() + 1);
  return request;
}

sockaddr ipv4(std::uint32_t address) {
  sockaddr_in made{};
  made.sin_family = AF_INET;
  made.sin_addr.s_addr = htonl(address);
  sockaddr generic{};
  std::memcpy(&generic, &made, sizeof generic);
  return generic;
}

void bring_up(const File& socket, const std::string& device) {
  ifreq request = request_for(device);
  must(::ioctl(socket.number, SIOCGIFFLAGS, &request), "reading the flags of " + device);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
  must(::ioctl(socket.number, SIOCSIFFLAGS, &request), "bringing up " + device);
}

void configure(const std::string& device, std::uint32_t address) {
  const File socket(must(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "a socket"));
  ifreq request = request_for(device);
  request.ifr_addr = ipv4(address);
  must(::ioctl(socket.number, SIOCSIFADDR, &request), "giving " + device + " an address");
  request.ifr_netmask = ipv4(0xffffff00);
  must(::ioctl(socket.number, SIOCSIFNETMASK, &request), "giving " + device + " a netmask");
  bring_up(socket, device);
  bring_up(socket, "lo");
}

std::uint32_t parse_address(const std::string& text) {
  in_addr address{};
  if (::inet_pton(AF_INET, text.c_str(), &address) != 1) {
    throw std::invalid_argument("\"" + text + "\" is no IPv4 address");
  }
  return ntohl(address.s_addr);
}

}  // namespace

Tun::Tun(const std::string& space, const std::string& device, const std::string& address)
    : address_(parse_address(address)) {
  const Visit visit(space);
  file_ = must(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "opening /dev/net/tun");
  try {
    ifreq request = request_for(device);
    request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    must(::ioctl(file_, TUNSETIFF, &request), "making the TUN device " + device);
    set_segmentation_offload(true);
    configure(device, address_);
  } catch (...) {
    ::close(file_);
    throw;
  }
}

Tun::Tun(Tun&& other) noexcept : file_(std::exchange(other.file_, -1)), address_(other.address_) {}

Tun::~Tun() {
  if (file_ >= 0) ::close(file_);
}

void Tun::set_segmentation_offload(bool is_on) {
  const unsigned long offloads = is_on ? TUN_F_CSUM | TUN_F_TSO4 : TUN_F_CSUM;
  must(::ioctl(file_, TUNSETOFFLOAD, offloads), "setting offloads");
}

std::optional<std::span<std::byte>> Tun::read(std::span<std::byte> buffer) {
  const ssize_t size = ::read(file_, buffer.data(), buffer.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  must(static_cast<int>(size), "reading a TUN device");
  return buffer.first(static_cast<std::size_t>(size));
}

void Tun::write(std::span<const std::byte> packet) {
  const ssize_t written = ::write(file_, packet.data(), packet.size());
  if (written < 0 && (errno == EBADFD || errno == EBADF)) must(-1, "writing to a TUN device");
}

}  // namespace train::emulation

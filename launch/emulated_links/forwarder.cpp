#include "launch/emulated_links/forwarder.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <span>
#include <system_error>

#include <poll.h>
#include <unistd.h>

namespace train::emulation {
namespace {

// Taken from one device before the others get their turn.
constexpr int packets_per_turn = 32;
constexpr std::size_t packet_bytes_max = (64 << 10) + 256;

Time now() {
  return std::chrono::duration_cast<Time>(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

Forwarder::Forwarder(Network& network, Commands commands, std::vector<Tun> devices)
    : network_(network),
      commands_(std::move(commands)),
      devices_(std::move(devices)),
      buffer_(packet_bytes_max) {
  use_offloads();
}

void Forwarder::run() {
  const auto deliver = [this](std::size_t port, const Packet& packet) {
    devices_[port].write(std::span(packet.bytes.get(), packet.size));
  };
  std::vector<pollfd> files{{STDIN_FILENO, POLLIN, 0}};
  for (const Tun& device : devices_) files.push_back({device.file(), POLLIN, 0});
  for (;;) {
    // What is due soon is waited for no less than the kernel's timer slack, 50 µs: packets come and
    // go in small batches.
    timespec timeout{};
    const auto next = network_.next();
    if (next) {
      const auto left = std::max(Duration(0), *next - now()).count();
      timeout = {left / 1'000'000'000, left % 1'000'000'000};
    }
    if (::ppoll(files.data(), files.size(), next ? &timeout : nullptr, nullptr) < 0 &&
        errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "waiting for packets");
    }
    for (std::size_t port = 0; port < devices_.size(); ++port) {
      if (files[port + 1].revents != 0) read_packets(port);
    }
    network_.advance(now(), deliver);
    if (files[0].revents != 0 && !read_commands()) return;
  }
}

void Forwarder::read_packets(std::size_t port) {
  for (int i = 0; i < packets_per_turn; ++i) {
    const auto bytes = devices_[port].read(buffer_);
    if (!bytes) return;
    // What is not for another port, IPv6's search for routers say, ends here.
    const auto facts = facts_of(*bytes);
    if (!facts) continue;
    const auto target = std::ranges::find(devices_, facts->destination, &Tun::address);
    const auto to = static_cast<std::size_t>(target - devices_.begin());
    if (target == devices_.end() || to == port) continue;
    network_.send(port, to, make_packet(*bytes, *facts), now());
  }
}

bool Forwarder::read_commands() {
  std::array<char, 4096> text{};
  const ssize_t size = ::read(STDIN_FILENO, text.data(), text.size());
  if (size <= 0) return size < 0 && errno == EINTR;
  unfinished_line_.append(text.data(), static_cast<std::size_t>(size));
  for (;;) {
    const auto end = unfinished_line_.find('\n');
    if (end == std::string::npos) return true;
    std::printf("%s\n", commands_.run(unfinished_line_.substr(0, end)).c_str());
    std::fflush(stdout);
    unfinished_line_.erase(0, end + 1);
    use_offloads();
  }
}

// Single packets can be lost only where packets are single.
void Forwarder::use_offloads() {
  bool is_lossy = false;
  for (std::size_t from = 0; from < network_.ports(); ++from) {
    for (std::size_t to = 0; to < network_.ports(); ++to) {
      is_lossy = is_lossy || network_.rules(from, to).loss > 0;
    }
  }
  if (has_offloads_ != is_lossy) return;
  has_offloads_ = !is_lossy;
  for (Tun& device : devices_) device.set_segmentation_offload(has_offloads_);
}

}  // namespace train::emulation

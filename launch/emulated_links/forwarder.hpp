#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "launch/emulated_links/commands.hpp"
#include "launch/emulated_links/network.hpp"
#include "launch/emulated_links/tun.hpp"

namespace train::emulation {

/// Carries packets between devices through a network, and obeys commands from standard input, each
/// answered by a line on standard output. One thread.
class Forwarder {
 public:
  Forwarder(Network& network, Commands commands, std::vector<Tun> devices);

  /// Until standard input ends.
  void run();

 private:
  void read_packets(std::size_t port);
  // False at the end of standard input.
  bool read_commands();
  void use_offloads();

  Network& network_;
  Commands commands_;
  std::vector<Tun> devices_;
  std::vector<std::byte> buffer_;
  std::string unfinished_line_;
  bool has_offloads_ = true;
};

}  // namespace train::emulation

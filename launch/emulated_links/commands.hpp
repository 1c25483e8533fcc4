#pragma once

#include <string>
#include <vector>

#include "launch/emulated_links/network.hpp"

namespace train::emulation {

/// What may be said to the network while it runs, one command a line:
///   cut A B | restore A B       the link between two ports, both directions
///   isolate A | rejoin A        all of a port's links
///   rate A RATE                 of a port, to and from it
///   rate A B RATE               between two ports, in each direction
///   rtt [A B] TIME              round trip: half of it in each direction
///   jitter [A B] TIME           in each direction
///   loss [A B] FRACTION         in each direction
///   stats                       counts of all pairs, as JSON
/// The answer is one line: "ok", the JSON, or "error: " and what was expected.
class Commands {
 public:
  Commands(Network& network, std::vector<std::string> names);

  std::string run(const std::string& line);

 private:
  using Words = std::vector<std::string>;
  using Pairs = std::vector<std::pair<std::size_t, std::size_t>>;

  void obey(const Words& words);
  void set_rate(const Words& words);
  std::size_t port(const std::string& name) const;
  Pairs both_ways(const std::string& first, const std::string& second) const;
  // Of "COMMAND [A B] VALUE": the two that are named, or all.
  Pairs chosen(const Words& words) const;
  std::string stats() const;

  Network& network_;
  std::vector<std::string> names_;
};

}  // namespace train::emulation

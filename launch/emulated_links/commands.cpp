#include "launch/emulated_links/commands.hpp"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include <nlohmann/json.hpp>

namespace train::emulation {

Commands::Commands(Network& network, std::vector<std::string> names)
    : network_(network), names_(std::move(names)) {}

std::string Commands::run(const std::string& line) {
  std::istringstream stream(line);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  try {
    if (words.empty()) throw std::invalid_argument("a command was expected");
    if (words == Words{"stats"}) return stats();
    obey(words);
  } catch (const std::invalid_argument& error) {
    return std::string("error: ") + error.what();
  }
  return "ok";
}

void Commands::obey(const Words& words) {
  const std::string& command = words[0];
  const bool goes_up = command == "restore" || command == "rejoin";
  if ((command == "cut" || command == "restore") && words.size() == 3) {
    for (const auto& [from, to] : both_ways(words[1], words[2])) {
      network_.rules(from, to).is_up = goes_up;
    }
  } else if ((command == "isolate" || command == "rejoin") && words.size() == 2) {
    network_.set_port_up(port(words[1]), goes_up);
  } else if (command == "rate" && (words.size() == 3 || words.size() == 4)) {
    set_rate(words);
  } else if ((command == "rtt" || command == "jitter" || command == "loss") &&
             (words.size() == 2 || words.size() == 4)) {
    const double loss = command == "loss" ? parse_fraction(words.back()) : 0;
    const Duration time = command == "loss" ? Duration(0) : parse_duration(words.back());
    for (const auto& [from, to] : chosen(words)) {
      PairRules& rules = network_.rules(from, to);
      if (command == "rtt") rules.delay = time / 2;
      if (command == "jitter") rules.jitter = time;
      if (command == "loss") rules.loss = loss;
    }
  } else {
    throw std::invalid_argument(
        "expected cut A B, restore A B, isolate A, rejoin A, rate A [B] RATE, rtt [A B] TIME, "
        "jitter [A B] TIME, loss [A B] FRACTION or stats");
  }
}

void Commands::set_rate(const Words& words) {
  const double rate = parse_rate(words.back());
  if (words.size() == 3) {
    network_.set_port_rate(port(words[1]), rate);
    return;
  }
  for (const auto& [from, to] : both_ways(words[1], words[2])) {
    network_.set_pair_rate(from, to, rate);
  }
}

std::size_t Commands::port(const std::string& name) const {
  const auto found = std::ranges::find(names_, name);
  if (found == names_.end()) throw std::invalid_argument("there is no port \"" + name + "\"");
  return static_cast<std::size_t>(found - names_.begin());
}

Commands::Pairs Commands::both_ways(const std::string& first, const std::string& second) const {
  const std::size_t a = port(first), b = port(second);
  if (a == b) throw std::invalid_argument("a link has two ends, not \"" + first + "\" twice");
  return {{a, b}, {b, a}};
}

Commands::Pairs Commands::chosen(const Words& words) const {
  if (words.size() == 4) return both_ways(words[1], words[2]);
  Pairs all;
  for (std::size_t from = 0; from < network_.ports(); ++from) {
    for (std::size_t to = 0; to < network_.ports(); ++to) {
      if (from != to) all.emplace_back(from, to);
    }
  }
  return all;
}

std::string Commands::stats() const {
  auto all = nlohmann::json::array();
  for (std::size_t from = 0; from < network_.ports(); ++from) {
    for (std::size_t to = 0; to < network_.ports(); ++to) {
      if (from == to) continue;
      const PairCounts& counts = network_.counts(from, to);
      all.push_back({{"from", names_[from]},
                     {"to", names_[to]},
                     {"packets", counts.wire_packets},
                     {"bytes", counts.wire_bytes},
                     {"payload", counts.payload_bytes},
                     {"lost", counts.packets_lost},
                     {"dropped", counts.packets_dropped},
                     {"cut", counts.packets_cut}});
    }
  }
  return all.dump();
}

}  // namespace train::emulation

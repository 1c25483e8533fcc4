// The wide area on one machine: a TUN device in each network namespace, and links of a given rate,
// delay, jitter and loss between them.
//
//   emulated_links --port c1,/proc/4242/ns/net,10.77.0.1 --port c2,/proc/4243/ns/net,10.77.0.2
//                  --rtt 80ms --rate 200mbit
//
// Says "ready" on standard output, then answers the commands of commands.hpp, and ends with its
// standard input.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <sched.h>

#include "launch/emulated_links/forwarder.hpp"

namespace train::emulation {
namespace {

struct Options {
  std::vector<std::string> ports;
  std::string rtt = "0", jitter = "0", loss = "0", rate = "none", queue = "200ms";
  std::uint64_t seed = 1;
};

// "NAME,NAMESPACE,ADDRESS"
std::vector<std::string> fields_of(const std::string& port) {
  std::vector<std::string> fields = CLI::detail::split(port, ',');
  if (fields.size() != 3) {
    throw std::invalid_argument("--port takes NAME,NAMESPACE,ADDRESS, not \"" + port + "\"");
  }
  return fields;
}

// A wire does not wait until a busy machine has time for it. Where that is not allowed it waits.
void run_before_others() {
  const sched_param priority{.sched_priority = 10};
  ::sched_setscheduler(0, SCHED_RR, &priority);
}

void run(const Options& options) {
  std::vector<std::string> names;
  std::vector<Tun> devices;
  for (const std::string& port : options.ports) {
    const auto fields = fields_of(port);
    if (std::ranges::find(names, fields[0]) != names.end()) {
      throw std::invalid_argument("two ports are called \"" + fields[0] + "\"");
    }
    names.push_back(fields[0]);
    devices.emplace_back(fields[1], "wide", fields[2]);
  }
  Network network(names.size(), parse_duration(options.queue), options.seed);
  Commands commands(network, names);
  std::vector<std::string> lines{"rtt " + options.rtt, "jitter " + options.jitter,
                                 "loss " + options.loss};
  for (const auto& name : names) lines.push_back("rate " + name + " " + options.rate);
  for (const std::string& line : lines) {
    if (const auto answer = commands.run(line); answer != "ok") {
      throw std::invalid_argument("--" + line + ": " + answer);
    }
  }
  Forwarder forwarder(network, commands, std::move(devices));
  run_before_others();
  std::puts("ready");
  std::fflush(stdout);
  forwarder.run();
}

}  // namespace
}  // namespace train::emulation

int main(int argc, char** argv) {
  train::emulation::Options options;
  CLI::App app("Emulates the links between network namespaces of this machine");
  app.add_option("--port", options.ports,
                 "NAME,NAMESPACE,ADDRESS: a namespace (/proc/PID/ns/net) and its place in a /24")
      ->required();
  app.add_option("--rtt", options.rtt, "Round trip between any two ports (default 0)");
  app.add_option("--rate", options.rate, "Rate of each port, in and out (default none)");
  app.add_option("--jitter", options.jitter, "Most that a packet is late, each way (default 0)");
  app.add_option("--loss", options.loss, "Part of the packets that is lost (default 0)");
  app.add_option("--queue", options.queue, "What a queue holds at its rate (default 200ms)");
  app.add_option("--seed", options.seed, "Of jitter and loss (default 1)");
  CLI11_PARSE(app, argc, argv);
  // Whoever started this may be gone when it is answered: the end of standard input says so.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    train::emulation::run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "emulated_links: %s\n", error.what());
    return 1;
  }
}

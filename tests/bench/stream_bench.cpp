// Bandwidth of a link, by its count of streams. CERTIFICATES is the directory that
// `launch/trainctl certs CERTIFICATES --job bench --cluster aws --cluster lambda` made.
//
//   stream_bench CERTIFICATES [MIB] [THREADS]         over loopback, encrypted and plain, beside a
//       bare socket that one thread fills and another empties: in turn, so that all see the same
//       machine. Both ends run here and share the cores.
//   stream_bench CERTIFICATES receive HOST:PORT       between machines: on one of them this,
//   stream_bench CERTIFICATES send HOST:PORT MIB STREAMS        on the other this; STREAMS may be
//       "auto". Beside it run iperf3.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collectives/error.hpp"
#include "collectives/standard_streams.hpp"
#include "collectives/wide/stream/node.hpp"

namespace train::bench {
namespace {

using namespace train::wide;

struct Cost {
  double seconds = 0, processor_seconds = 0;
};

double processor_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return time.tv_sec + 1e-6 * time.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <typename Call>
Cost cost_of(const Call& call) {
  const double before = processor_seconds();
  const auto began = Clock::now();
  call();
  return {std::chrono::duration<double>(Clock::now() - began).count(),
          processor_seconds() - before};
}

void must(bool good, const char* what) {
  if (!good) throw Error(std::string(what) + " failed");
}

/// Two ends of a TCP connection over loopback.
struct Sockets {
  Sockets() {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    must(::bind(listener, generic, size) == 0 && ::listen(listener, 1) == 0, "listen");
    must(::getsockname(listener, generic, &size) == 0, "getsockname");
    from = ::socket(AF_INET, SOCK_STREAM, 0);
    must(::connect(from, generic, size) == 0, "connect");
    to = ::accept(listener, nullptr, nullptr);
    must(to >= 0, "accept");
    ::close(listener);
  }
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;
  ~Sockets() {
    ::close(from);
    ::close(to);
  }

  void copy(const std::vector<std::byte>& source, std::vector<std::byte>& target) const {
    std::thread sender([&] {
      for (std::size_t sent = 0; sent < source.size();) {
        const auto count = std::min<std::size_t>(source.size() - sent, 256 << 10);
        const auto got = ::send(from, source.data() + sent, count, 0);
        if (got <= 0) return;
        sent += static_cast<std::size_t>(got);
      }
    });
    for (std::size_t there = 0; there < target.size();) {
      const auto got = ::recv(to, target.data() + there, target.size() - there, 0);
      if (got <= 0) break;
      there += static_cast<std::size_t>(got);
    }
    sender.join();
  }

  int from = -1, to = -1;
};

struct Ends {
  Ends(int streams, int threads, std::optional<std::string> certificates)
      : sender(options("aws", threads, certificates)),
        receiver(options("lambda", threads, certificates)) {
    const auto port = sender.listen("127.0.0.1:0");
    from.emplace(sender.link({"lambda"}));
    to.emplace(receiver.link(
        {"aws"}, {.addresses = {"127.0.0.1:" + std::to_string(port)}, .streams = streams}));
    while (from->streams() < streams || to->streams() < streams) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  static NodeOptions options(const std::string& name, int threads,
                             const std::optional<std::string>& certificates) {
    NodeOptions made;
    made.name = name;
    made.threads = threads;
    made.plaintext = !certificates;
    if (certificates) made.tls = TlsFiles::in(*certificates + "/" + name);
    return made;
  }

  void copy(const std::vector<std::byte>& source, std::vector<std::byte>& target) {
    const auto deadline = Clock::now() + std::chrono::minutes(1);
    auto received = to->receive(++id, target, deadline);
    auto sent = from->send(id, source, deadline);
    received.wait();
    sent.wait();
  }

  Node sender, receiver;
  std::optional<Link> from, to;
  std::uint64_t id = 0;
};

Cost median(std::vector<Cost> costs) {
  std::ranges::sort(costs, {}, &Cost::seconds);
  return costs[costs.size() / 2];
}

void receive(const std::string& certificates, const std::string& address) {
  Node node(Ends::options("lambda", 0, certificates));
  node.listen(address);
  Link link = node.link({"aws"});
  std::vector<std::byte> target;
  std::uint64_t id = 0;
  for (;;) {
    try {
      std::uint64_t bytes = 0;
      link.receive(id, std::as_writable_bytes(std::span(&bytes, 1)), Deadline::max()).wait();
      target.resize(bytes);
      link.receive(id + 1, target, Deadline::max()).wait();
      id += 2;
    } catch (const Error& error) {  // the sender is done; another may come
      id = 0;
    }
  }
}

void send(const std::string& certificates, const std::string& address, std::uint64_t bytes,
          std::optional<int> streams) {
  Node node(Ends::options("aws", 0, certificates));
  Link link = node.link({"lambda"}, {.addresses = {address}, .streams = streams});
  const auto deadline = Clock::now() + std::chrono::minutes(10);
  if (!link.wait_connected(deadline)) throw Error("nobody answers at " + address);
  const std::vector<std::byte> source(bytes, std::byte{7});
  for (std::uint64_t round = 0; round < 3; ++round) {
    link.send(2 * round, std::as_bytes(std::span(&bytes, 1)), deadline).wait();
    const auto cost = cost_of([&] { link.send(2 * round + 1, source, deadline).wait(); });
    fmt::print("{:.0f} Mbit/s with {} streams, {:.2f} processor seconds per GB\n",
               8e-6 * static_cast<double>(bytes) / cost.seconds, link.streams(),
               1e9 * cost.processor_seconds / static_cast<double>(bytes));
    std::fflush(stdout);
  }
}

void run(const std::string& certificates, std::size_t bytes, int threads) {
  const std::vector<std::byte> source(bytes, std::byte{7});
  std::vector<std::byte> target(bytes);
  fmt::print("{} MiB, {} threads at each end; GB/s, and processor seconds per GB, both ends\n",
             bytes >> 20, threads);
  fmt::print("{:>8}{:>18}{:>18}{:>18}\n", "streams", "socket", "plain", "TLS");
  Sockets sockets;
  for (const int streams : {1, 2, 4, 8}) {
    Ends plain(streams, threads, std::nullopt), encrypted(streams, threads, certificates);
    std::vector<Cost> bare_costs, plain_costs, encrypted_costs;
    for (int round = -1; round < 5; ++round) {
      const auto bare = cost_of([&] { sockets.copy(source, target); });
      const auto ours = cost_of([&] { plain.copy(source, target); });
      const auto tls = cost_of([&] { encrypted.copy(source, target); });
      if (round < 0) continue;
      bare_costs.push_back(bare);
      plain_costs.push_back(ours);
      encrypted_costs.push_back(tls);
    }
    fmt::print("{:>8}", streams);
    for (const auto& costs : {bare_costs, plain_costs, encrypted_costs}) {
      const auto cost = median(costs);
      const double gigabytes = 1e-9 * static_cast<double>(bytes);
      fmt::print("{:>10.2f}{:>8.2f}", gigabytes / cost.seconds, cost.processor_seconds / gigabytes);
    }
    fmt::print("\n");
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace train::bench

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 3 && words[1] == "receive") {
      train::bench::receive(words[0], words[2]);
    } else if (words.size() == 5 && words[1] == "send") {
      std::optional<int> streams;
      if (words[4] != "auto") streams = std::stoi(words[4]);
      train::bench::send(words[0], words[2], std::stoull(words[3]) << 20, streams);
    } else if (!words.empty() && words.size() <= 3) {
      const std::size_t mib = words.size() > 1 ? std::stoul(words[1]) : 256;
      train::bench::run(words[0], mib << 20, words.size() > 2 ? std::stoi(words[2]) : 1);
    } else {
      train::log_line(
          "usage: stream_bench CERTIFICATES [MIB] [THREADS]\n"
          "       stream_bench CERTIFICATES receive HOST:PORT\n"
          "       stream_bench CERTIFICATES send HOST:PORT MIB STREAMS|auto");
      return 2;
    }
  } catch (const std::exception& error) {
    train::log_line(fmt::format("stream_bench: {}", error.what()));
    return 1;
  }
}

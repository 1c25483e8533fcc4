// One of two clusters that exchange VALUES floats without a codec, whenever standard input has a
// line; both ends must be told. Prints a line of JSON for each exchange. tests/bench/wide/exchange
// runs two of them.
//
//   exchange_bench CERTIFICATES 0 HOST:PORT VALUES [STREAMS|auto [AHEAD [KIB]]]    listens there
//   exchange_bench CERTIFICATES 1 HOST:PORT VALUES [STREAMS|auto [AHEAD [KIB]]]    dials it
//
// AHEAD is ExchangePlan::bytes_ahead in MiB, KIB the link's chunks.
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>

#include "collectives/error.hpp"
#include "collectives/standard_streams.hpp"
#include "collectives/wide/exchange/exchange.hpp"
#include "collectives/wide/exchange/link_peers.hpp"
#include "collectives/wide/stream/node.hpp"

namespace train::bench {
namespace {

using namespace train::wide;

const std::vector<std::string> names{"c1", "c2"};

double processor_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return time.tv_sec + 1e-6 * time.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Tuning {
  LinkOptions link{};
  ExchangePlan plan{};
};

class Cluster {
 public:
  Cluster(const std::string& certificates, int self, const std::string& address, std::size_t values,
          Tuning tuning)
      : self_(self),
        node_(options(certificates, self)),
        link_(connect(address, std::move(tuning.link))),
        peers_(2, self, {{1 - self, link_}}, std::chrono::minutes(2)),
        values_(values, 1.0f + static_cast<float>(self)),
        mean_(values),
        feedback_(Codec::none, values),
        plan_(std::move(tuning.plan)) {
    const std::vector<std::uint64_t> speeds{1, 1};
    plan_.owned = owned_by_speed(values, speeds);
    plan_.weights = speeds;
  }

  void run() {
    for (std::string line; std::getline(std::cin, line);) exchange_once();
  }

 private:
  static NodeOptions options(const std::string& certificates, int self) {
    NodeOptions made;
    made.tls = TlsFiles::in(certificates + "/" + names[static_cast<std::size_t>(self)]);
    return made;
  }

  Link connect(const std::string& address, LinkOptions link_options) {
    if (self_ == 0) {
      node_.listen(address);
    } else {
      link_options.addresses = {address};
    }
    Link link = node_.link({names[static_cast<std::size_t>(1 - self_)]}, link_options);
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    while (link.streams() < link_options.streams.value_or(link_options.auto_streams.first)) {
      if (Clock::now() > deadline) throw Error("the link does not come up");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::puts("connected");
    std::fflush(stdout);
    return link;
  }

  // Both ends have come here.
  void meet() {
    std::byte mine{}, theirs{};
    const Deadline deadline = Clock::now() + std::chrono::minutes(2);
    auto received = link_.receive(next_id_, {&theirs, 1}, deadline);
    auto sent = link_.send(next_id_, {&mine, 1}, deadline);
    received.wait();
    sent.wait();
    ++next_id_;
  }

  void exchange_once() {
    meet();
    plan_.first_id = next_id_;
    next_id_ += ids_needed(plan_);
    const LinkTraffic before = link_.traffic();
    const double processor_before = processor_seconds();
    const auto began = Clock::now();
    wide::exchange(peers_, plan_, feedback_, values_, mean_);
    const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
    const double processor = processor_seconds() - processor_before;
    for (const float value : mean_) {
      if (value != 1.5f) throw Error("the mean is wrong");
    }
    const LinkTraffic after = link_.traffic();
    fmt::print(
        "{{\"seconds\": {}, \"processor_seconds\": {}, \"formula\": {}, \"payload_sent\": {}, "
        "\"wire_sent\": {}, \"streams\": {}}}\n",
        seconds, processor, bytes_sent(plan_, Codec::none, self_),
        after.payload_sent - before.payload_sent, after.wire_sent - before.wire_sent,
        link_.streams());
    std::fflush(stdout);
  }

  int self_;
  Node node_;
  Link link_;
  LinkPeers peers_;
  std::vector<float> values_, mean_;
  ExchangeFeedback feedback_;
  ExchangePlan plan_;
  std::uint64_t next_id_ = 1;
};

}  // namespace
}  // namespace train::bench

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 4 || words.size() > 7) {
    train::log_line(
        "usage: exchange_bench CERTIFICATES 0|1 HOST:PORT VALUES [STREAMS|auto [AHEAD "
        "[KIB]]]");
    return 2;
  }
  try {
    train::bench::Tuning tuning;
    if (words.size() > 4 && words[4] != "auto") tuning.link.streams = std::stoi(words[4]);
    if (words.size() > 5) tuning.plan.bytes_ahead = std::stoull(words[5]) << 20;
    if (words.size() > 6) tuning.link.chunk_bytes = std::stoull(words[6]) << 10;
    train::bench::Cluster(words[0], std::stoi(words[1]), words[2], std::stoull(words[3]), tuning)
        .run();
  } catch (const std::exception& error) {
    train::log_line(fmt::format("exchange_bench: {}", error.what()));
    return 1;
  }
}

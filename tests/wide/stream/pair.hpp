#pragma once

#include <condition_variable>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "collectives/wide/stream/node.hpp"
#include "tests/wide/stream/certificates.hpp"

namespace train::wide::test {

inline Deadline in_seconds(double seconds) {
  return Clock::now() + std::chrono::milliseconds(static_cast<int>(seconds * 1000));
}

inline std::vector<std::byte> random_bytes(std::size_t count, unsigned seed) {
  std::vector<std::byte> bytes(count);
  std::mt19937 random(seed);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

/// What a node's events said, and waiting for it.
class Events {
 public:
  NodeEvents hooks() {
    return {
        .on_message = [this](
                          const PeerName&,
                          std::vector<std::byte> message) { add(messages_, std::move(message)); },
        .on_up = [this](const PeerName& peer) { add(ups_, peer.to_string()); },
        .on_down = [this](const PeerName&, const std::string& why) { add(downs_, why); },
        .on_replaced = [this](const PeerName&, const std::string& why) { add(replacements_, why); },
        .on_log = [this](const std::string& line) { add(lines_, line); },
    };
  }

  /// False if there are not so many within 10 s.
  bool wait_messages(std::size_t count) { return wait(messages_, count); }
  bool wait_ups(std::size_t count) { return wait(ups_, count); }
  bool wait_downs(std::size_t count) { return wait(downs_, count); }
  bool wait_replacements(std::size_t count) { return wait(replacements_, count); }
  bool wait_lines(std::size_t count) { return wait(lines_, count); }

  std::vector<std::vector<std::byte>> messages() { return copy(messages_); }
  std::vector<std::string> ups() { return copy(ups_); }
  std::vector<std::string> downs() { return copy(downs_); }
  std::vector<std::string> replacements() { return copy(replacements_); }
  std::vector<std::string> lines() { return copy(lines_); }

 private:
  template <typename List, typename Value>
  void add(List& list, Value value) {
    const std::lock_guard lock(mutex_);
    list.push_back(std::move(value));
    changed_.notify_all();
  }
  template <typename List>
  bool wait(List& list, std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, in_seconds(10), [&] { return list.size() >= count; });
  }
  template <typename List>
  List copy(List& list) {
    const std::lock_guard lock(mutex_);
    return list;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<std::byte>> messages_;
  std::vector<std::string> ups_, downs_, replacements_, lines_;
};

/// Options of a node of `name`; without certificates, plaintext.
inline NodeOptions node_options(const std::string& name, const Certificates* certificates,
                                Events& events) {
  NodeOptions options;
  if (certificates != nullptr) options.tls = certificates->of(name.c_str());
  options.plaintext = certificates == nullptr;
  options.name = name;
  options.threads = 2;
  options.events = events.hooks();
  return options;
}

inline std::string at_port(std::uint16_t port) {
  return "127.0.0.1:" + std::to_string(port);
}

}  // namespace train::wide::test

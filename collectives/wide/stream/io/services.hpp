#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "collectives/wide/stream/io/loops.hpp"
#include "collectives/wide/stream/io/tls_context.hpp"
#include "collectives/wide/stream/node.hpp"

namespace train::wide::detail {

/// What a node lends to its links, until it shuts them down.
class Services {
 public:
  explicit Services(NodeOptions given);

  TlsContext::Impl* tls_impl() { return tls ? &tls->impl() : nullptr; }
  void prepare(int socket) const;
  /// For streams of few small messages, which nothing follows that would show a loss: what is lost
  /// is sent again within a second each time.
  static void keep_pace(int socket);
  void up(const PeerName& peer);
  void down(const PeerName& peer, const std::string& reason);
  void message(const PeerName& peer, std::vector<std::byte> content);
  void replaced(const PeerName& peer, const std::string& reason);
  void log(const std::string& line);
  /// A session for one end of a link (Hello), greater than those before.
  std::uint64_t draw_session() { return ++session_; }
  std::uint64_t last_session() const { return session_; }

  NodeOptions options;
  std::unique_ptr<TlsContext> tls;
  PeerName self;
  Loops loops;

 private:
  void call(std::function<void()> event);

  std::atomic<std::uint64_t> session_;
  // Posting alone would not keep their order: a loop's own thread overtakes others.
  std::mutex events_mutex_;
  std::deque<std::function<void()>> events_;
};

}  // namespace train::wide::detail

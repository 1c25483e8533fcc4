#pragma once

#include <functional>
#include <memory>
#include <string>

#include "collectives/wide/stream/io/loops.hpp"
#include "collectives/wide/stream/io/tls_context.hpp"
#include "collectives/wide/stream/node.hpp"

namespace train::wide::detail {

/// What a node lends to its links, until it shuts them down.
struct Services {
  explicit Services(NodeOptions given);

  TlsContext::Impl* tls_impl() { return tls ? &tls->impl() : nullptr; }
  void prepare(int socket) const;
  void up(const PeerName& peer);
  void down(const PeerName& peer, const std::string& reason);
  void message(const PeerName& peer, std::vector<std::byte> content);
  void log(const std::string& line);

  NodeOptions options;
  std::unique_ptr<TlsContext> tls;
  PeerName self;
  Loops loops;
};

}  // namespace train::wide::detail

#include "collectives/wide/stream/io/services.hpp"

#include <chrono>
#include <random>

#include <asio/post.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/hello.hpp"

namespace train::wide::detail {
namespace {

std::unique_ptr<TlsContext> load(const NodeOptions& options) {
  if (options.tls && options.plaintext) {
    throw Error("a node has either certificates or plaintext, not both");
  }
  if (!options.tls && !options.plaintext) {
    throw Error("a node needs certificates (launch/trainctl certs), or plaintext on loopback");
  }
  return options.tls ? std::make_unique<TlsContext>(*options.tls) : nullptr;
}

PeerName name_of(const NodeOptions& options, const TlsContext* tls) {
  const std::string name = tls != nullptr ? tls->identity().name : options.name;
  if (!options.name.empty() && name != options.name) {
    throw Error("this cluster is to be \"" + options.name + "\", but " +
                options.tls->certificate.string() + " is of \"" + name + "\"");
  }
  if (!valid_name(name)) {
    throw Error("a cluster cannot be called \"" + name +
                "\": 1 to 63 letters, digits, '-', '_' or '.', the first a letter, digit or '_'");
  }
  return {name, options.lane};
}

// Milliseconds, and room for a million sessions before they reach the next one. Two processes that
// begin in the same millisecond still differ.
std::uint64_t first_session() {
  const auto began = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  return static_cast<std::uint64_t>(began.count()) << 20 | (std::random_device()() & 0xffff);
}

void set(int socket, int level, int option, int value) {
  // A kernel that lacks one of these still carries streams, only less well.
  static_cast<void>(::setsockopt(socket, level, option, &value, sizeof value));
}

}  // namespace

Services::Services(NodeOptions given)
    : options(std::move(given)),
      tls(load(options)),
      self(name_of(options, tls.get())),
      loops(options.threads),
      session_(first_session()) {}

void Services::prepare(int socket) const {
  const auto& wanted = options.sockets;
  if (wanted.send_buffer_bytes) set(socket, SOL_SOCKET, SO_SNDBUF, *wanted.send_buffer_bytes);
  if (wanted.receive_buffer_bytes) set(socket, SOL_SOCKET, SO_RCVBUF, *wanted.receive_buffer_bytes);
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(wanted.unacknowledged_max.count()));
  // Where many streams share a narrow way, each has few packets under way, and waits for what is
  // lost: at an even pace, not ever longer.
  set(socket, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1);
  if (wanted.is_thin) keep_pace(socket);
  // The peer of an idle stream is asked every 5 s; NATs keep their entry meanwhile.
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket, IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(socket, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  // Bytes wait for a stream here, where a faster one can still take them, not in its socket.
  constexpr int unsent_bytes = 1 << 20;
  set(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent_bytes);
}

void Services::keep_pace(int socket) {
  constexpr int rto_max_ms_option = 44;  // TCP_RTO_MAX_MS: from Linux 6.15 on
  constexpr int rto_max_ms = 1000;
  set(socket, IPPROTO_TCP, rto_max_ms_option, rto_max_ms);
}

void Services::call(std::function<void()> event) {
  {
    const std::lock_guard lock(events_mutex_);
    events_.push_back(std::move(event));
  }
  asio::post(loops.home(), [this] {
    std::unique_lock lock(events_mutex_);
    const auto first = std::move(events_.front());
    events_.pop_front();
    lock.unlock();
    first();
  });
}

void Services::up(const PeerName& peer) {
  if (!options.events.on_up) return;
  call([this, peer] { options.events.on_up(peer); });
}

void Services::down(const PeerName& peer, const std::string& reason) {
  if (!options.events.on_down) return;
  call([this, peer, reason] { options.events.on_down(peer, reason); });
}

void Services::message(const PeerName& peer, std::vector<std::byte> content) {
  if (!options.events.on_message) return;
  const auto shared = std::make_shared<std::vector<std::byte>>(std::move(content));
  call([this, peer, shared] { options.events.on_message(peer, std::move(*shared)); });
}

void Services::replaced(const PeerName& peer, const std::string& reason) {
  if (!options.events.on_replaced) return;
  call([this, peer, reason] { options.events.on_replaced(peer, reason); });
}

void Services::log(const std::string& line) {
  if (!options.events.on_log) return;
  call([this, line] { options.events.on_log(line); });
}

}  // namespace train::wide::detail

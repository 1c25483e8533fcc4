#include "tests/wide/stream/proxy.hpp"

#include <array>
#include <chrono>
#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace train::wide::test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

/// Small buffers: what waits, waits with the sender.
int small_socket() {
  const int made = ::socket(AF_INET, SOCK_STREAM, 0);
  const int bytes = 64 << 10;
  ::setsockopt(made, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  ::setsockopt(made, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  return made;
}

bool readable(int socket) {
  pollfd wait{socket, POLLIN, 0};
  return ::poll(&wait, 1, 10) > 0;
}

}  // namespace

struct Proxy::Connection {
  int client = -1, server = -1;
  std::size_t bytes_per_s = 0;
  std::atomic<bool> cut{false};
  std::thread there, back;
};

Proxy::Proxy(std::uint16_t target) : listener_(small_socket()), target_(target) {
  auto address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the proxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept(); });
}

Proxy::~Proxy() {
  ending_ = true;
  acceptor_.join();
  for (const auto& each : connections_) {
    each->there.join();
    each->back.join();
    ::close(each->client);
    ::close(each->server);
  }
  ::close(listener_);
}

void Proxy::accept() {
  while (!ending_) {
    if (!readable(listener_)) continue;
    const int client = ::accept(listener_, nullptr, nullptr);
    if (client < 0) continue;
    const int server = small_socket();
    const auto address = loopback(target_);
    if (refuse_ ||
        ::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      ::close(client);
      ::close(server);
      continue;
    }
    const std::lock_guard lock(mutex_);
    if (refuse_) {  // said meanwhile: a cut that follows must leave nothing
      ::close(client);
      ::close(server);
      continue;
    }
    auto& made = *connections_.emplace_back(std::make_unique<Connection>());
    made.client = client;
    made.server = server;
    made.bytes_per_s = slow_first_.exchange(0);
    made.there = std::thread([this, &made] { pump(made, made.client, made.server); });
    made.back = std::thread([this, &made] { pump(made, made.server, made.client); });
  }
}

void Proxy::cut_every(std::size_t bytes, unsigned seed) {
  const std::lock_guard lock(mutex_);
  random_.seed(seed);
  until_cut_ = static_cast<std::int64_t>(bytes);
  cut_interval_ = bytes;
}

void Proxy::cut_all() {
  const std::lock_guard lock(mutex_);
  for (const auto& each : connections_) each->cut = true;
}

bool Proxy::due(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto interval = static_cast<std::int64_t>(cut_interval_);
  if (interval == 0) return false;
  until_cut_ -= static_cast<std::int64_t>(bytes);
  if (until_cut_ > 0) return false;
  until_cut_ = std::uniform_int_distribution<std::int64_t>(interval / 2, interval)(random_);
  ++cuts_;
  return true;
}

void Proxy::pump(Connection& connection, int from, int to) {
  std::array<char, 16 << 10> bytes;
  while (!ending_ && !connection.cut) {
    if (freeze_ || !readable(from)) {
      if (freeze_) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      continue;
    }
    const auto got = ::recv(from, bytes.data(), bytes.size(), 0);
    if (got <= 0) break;
    const auto count = static_cast<std::size_t>(got);
    forwarded_ += count;
    if (connection.bytes_per_s > 0) {
      forwarded_slowly_ += count;
      std::this_thread::sleep_for(
          std::chrono::microseconds(1'000'000 * count / connection.bytes_per_s));
    }
    if (due(count)) break;
    std::size_t sent = 0;
    while (sent < count) {
      const auto put = ::send(to, bytes.data() + sent, count - sent, MSG_NOSIGNAL);
      if (put <= 0) break;
      sent += static_cast<std::size_t>(put);
    }
    if (sent < count) break;
  }
  connection.cut = true;
  ::shutdown(connection.client, SHUT_RDWR);
  ::shutdown(connection.server, SHUT_RDWR);
}

}  // namespace train::wide::test

#include <array>
#include <memory>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collectives/wide/stream/io/tls_context.hpp"
#include "collectives/wide/stream/io/transport.hpp"
#include "tests/wide/stream/pair.hpp"

namespace train::wide::test {
namespace {

using namespace detail;

/// Two connected sockets with little room.
struct Sockets {
  Sockets() {
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0);
    const int bytes = 16 << 10;
    for (const int end : ends) ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  }
  ~Sockets() {
    for (const int end : ends) ::close(end);
  }
  std::array<int, 2> ends{};
};

void read_some(Transport& from, std::vector<std::byte>& to) {
  std::array<std::byte, 20'000> some;
  for (int i = 0; i < 3; ++i) {
    const auto [status, got] = from.read(some);
    if (status != IoStatus::ok) {
      REQUIRE(status == IoStatus::want_read);
      return;
    }
    to.insert(to.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(got));
  }
}

}  // namespace

TEST_CASE("keys are renewed while the socket is full, and no byte is lost") {
  const Certificates certificates;
  const TlsContext aws(certificates.of("aws")), lambda(certificates.of("lambda"));
  const Sockets sockets;
  const std::uint64_t key_bytes = 1000;  // less than a record
  const auto sender = tls_transport(sockets.ends[0], aws.impl(), Role::dials, key_bytes);
  const auto receiver = tls_transport(sockets.ends[1], lambda.impl(), Role::accepts);
  IoStatus first = IoStatus::want_read, second = IoStatus::want_read;
  for (int i = 0; i < 100 && (first != IoStatus::ok || second != IoStatus::ok); ++i) {
    if (first != IoStatus::ok) first = sender->handshake();
    if (second != IoStatus::ok) second = receiver->handshake();
  }
  REQUIRE(first == IoStatus::ok);
  REQUIRE(second == IoStatus::ok);

  const auto source = random_bytes(3'000'000, 1);
  std::vector<std::byte> target;
  std::size_t sent = 0;
  int waits = 0;
  while (sent < source.size()) {
    const auto rest = std::span(source).subspan(sent);
    const auto [status, taken] =
        sender->write(rest.first(std::min<std::size_t>(rest.size(), 50'000)));
    CAPTURE(sender->error());
    REQUIRE((status == IoStatus::ok || status == IoStatus::want_write));
    sent += taken;
    if (status != IoStatus::want_write) continue;
    ++waits;
    read_some(*receiver, target);
  }
  while (sender->flush() != IoStatus::ok) read_some(*receiver, target);
  for (int i = 0; i < 1000 && target.size() < source.size(); ++i) read_some(*receiver, target);
  CHECK(waits > 10);
  CHECK(target == source);
}

}  // namespace train::wide::test

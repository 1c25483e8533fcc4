#include "collectives/wide/stream/io/greeting.hpp"

#include <asio/post.hpp>

namespace train::wide::detail {

Greeting::Greeting(asio::io_context& loop, asio::ip::tcp::socket socket, TlsContext::Impl* tls,
                   Role role, std::chrono::milliseconds longest, Done done)
    : loop_(loop),
      socket_(std::move(socket)),
      transport_(tls != nullptr ? tls_transport(socket_.native_handle(), *tls, role)
                                : plain_transport(socket_.native_handle())),
      timer_(loop),
      encrypted_(tls != nullptr),
      role_(role),
      longest_(longest),
      done_(std::move(done)) {}

void Greeting::dial(const Hello& mine) {
  mine_ = mine;
  begin();
}

void Greeting::accept(Judge judge) {
  judge_ = std::move(judge);
  begin();
}

void Greeting::abandon(const std::string& why) {
  asio::post(loop_, [self = shared_from_this(), why] { self->fail(why); });
}

void Greeting::begin() {
  asio::post(loop_, [self = shared_from_this()] {
    self->timer_.expires_after(self->longest_);
    self->timer_.async_wait([self](const asio::error_code& error) {
      if (error) return;
      self->fail("did not introduce itself within " + std::to_string(self->longest_.count()) +
                 " ms");
    });
    self->advance();
  });
}

void Greeting::advance() {
  while (done_) {
    const auto status = step();
    const auto again = [self = shared_from_this()](const asio::error_code& error) {
      if (!error) self->advance();
    };
    switch (status) {
      case IoStatus::ok:
        if (!turn()) return;
        break;
      case IoStatus::want_read:
        return socket_.async_wait(socket_.wait_read, again);
      case IoStatus::want_write:
        return socket_.async_wait(socket_.wait_write, again);
      case IoStatus::closed:
        return fail("closed the connection before introducing itself");
      case IoStatus::failed:
        return fail(transport_->error());
    }
  }
}

IoStatus Greeting::step() {
  switch (phase_) {
    case Phase::proving:
      return transport_->handshake();
    case Phase::saying:
      return say();
    case Phase::hearing:
      return hear();
  }
  return IoStatus::failed;
}

IoStatus Greeting::say() {
  while (said_ < saying_.size()) {
    const auto [status, bytes] = transport_->write(std::span(saying_).subspan(said_));
    if (status != IoStatus::ok) return status;
    said_ += bytes;
  }
  return transport_->flush();
}

IoStatus Greeting::hear() {
  for (;;) {
    const bool in_header = heard_ < header_bytes;
    if (!in_header && heard_ == header_bytes + header_.length) return IoStatus::ok;
    const auto room = in_header ? std::span<std::byte>(header_bytes_).subspan(heard_)
                                : std::span<std::byte>(body_).subspan(heard_ - header_bytes);
    const auto [status, bytes] = transport_->read(room);
    if (status != IoStatus::ok) return status;
    heard_ += bytes;
    if (heard_ != header_bytes) continue;
    std::string wrong = decode(header_bytes_, header_);
    if (wrong.empty() && header_.type != FrameType::hello && header_.type != FrameType::bye) {
      wrong = "did not begin with a hello";
    }
    if (!wrong.empty()) {
      fail(wrong);
      return IoStatus::want_read;  // nobody waits any more
    }
    body_.resize(header_.length);
  }
}

bool Greeting::turn() {
  switch (phase_) {
    case Phase::proving:
      if (role_ == Role::accepts) {
        phase_ = Phase::hearing;
        return true;
      }
      if (encrypted_ && transport_->certified_name() != mine_.to.cluster) {
        fail("its certificate is of \"" + transport_->certified_name() + "\", not of \"" +
             mine_.to.cluster + "\"");
        return false;
      }
      saying_ = encode(mine_);
      phase_ = Phase::saying;
      return true;
    case Phase::saying:
      if (role_ == Role::dials) {
        phase_ = Phase::hearing;
        return true;
      }
      finish(Introduced{std::move(socket_), std::move(transport_), peer_, mine_.session});
      return false;
    case Phase::hearing:
      return hear_hello();
  }
  return false;
}

bool Greeting::hear_hello() {
  if (header_.type == FrameType::bye) {
    std::string reason;
    for (const std::byte letter : body_) reason += static_cast<char>(letter);
    finish(Denial{"refused: " + reason, header_.key});
    return false;
  }
  const auto hello = decode_hello(header_.key, body_);
  if (!hello) {
    fail("sent a malformed hello");
    return false;
  }
  peer_ = *hello;
  if (role_ == Role::dials) {
    if (peer_.from != mine_.to) {
      fail("is " + peer_.from.to_string() + ", not " + mine_.to.to_string());
      return false;
    }
    finish(Introduced{std::move(socket_), std::move(transport_), peer_, mine_.session});
    return false;
  }
  if (encrypted_ && transport_->certified_name() != peer_.from.cluster) {
    refuse({"claims to be \"" + peer_.from.cluster + "\", but its certificate is of \"" +
            transport_->certified_name() + "\""});
    return false;
  }
  auto answer = judge_(peer_);
  if (const auto* denial = std::get_if<Denial>(&answer)) {
    refuse(*denial);
    return false;
  }
  mine_ = std::get<Hello>(answer);
  saying_ = encode(mine_);
  phase_ = Phase::saying;
  return true;
}

void Greeting::refuse(const Denial& denial) {
  const auto text = denial.why.substr(0, reason_bytes_max);
  const auto header = encode(FrameHeader{FrameType::bye, static_cast<std::uint32_t>(text.size()),
                                         denial.later_session, 0});
  saying_.assign(header.begin(), header.end());
  for (const char letter : text) saying_.push_back(static_cast<std::byte>(letter));
  said_ = 0;
  say();  // as far as it goes at once
  finish(denial);
}

void Greeting::finish(std::variant<Introduced, Denial> result) {
  if (!done_) return;
  timer_.cancel();
  const auto done = std::exchange(done_, nullptr);
  judge_ = nullptr;
  if (std::holds_alternative<Denial>(result)) {
    asio::error_code ignored;
    socket_.close(ignored);
  }
  done(std::move(result));
}

}  // namespace train::wide::detail

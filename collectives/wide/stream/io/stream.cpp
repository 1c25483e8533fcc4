#include "collectives/wide/stream/io/stream.hpp"

#include <algorithm>

#include <asio/dispatch.hpp>
#include <asio/post.hpp>

namespace train::wide::detail {
namespace {

/// How much a stream may move before others on its loop have their turn.
constexpr std::size_t turn_bytes = 1 << 20;
/// Bytes per call of the transport.
constexpr std::size_t step_bytes = 256 << 10;
/// Between two looks at what the kernel counts.
constexpr std::chrono::milliseconds tcp_pause{100};

}  // namespace

Stream::Stream(asio::io_context& loop, asio::ip::tcp::socket socket,
               std::unique_ptr<Transport> transport, std::uint64_t id, std::string address)
    : loop_(loop),
      socket_(std::move(socket)),
      transport_(std::move(transport)),
      id_(id),
      address_(std::move(address)) {}

void Stream::start(std::shared_ptr<StreamOwner> owner) {
  asio::post(loop_, [self = shared_from_this(), owner = std::move(owner)]() mutable {
    if (self->closed_) return;
    self->owner_ = std::move(owner);
    // It may have been revoked while this stream was between its handshake and its link.
    self->check_trust();
    self->read_turn();
    self->write_turn();
  });
}

void Stream::wake() {
  if (wake_posted_.exchange(true)) return;
  asio::post(loop_, [self = shared_from_this()] {
    self->wake_posted_ = false;
    self->write_turn();
  });
}

void Stream::close(std::string reason) {
  asio::post(loop_, [self = shared_from_this(), reason = std::move(reason)] { self->end(reason); });
}

void Stream::check_trust() {
  asio::dispatch(loop_, [self = shared_from_this()] {
    if (self->closed_) return;
    if (const auto why = self->transport_->why_revoked(); !why.empty()) self->end(why);
  });
}

void Stream::end(const std::string& reason) {
  if (closed_) return;
  closed_ = true;
  asio::error_code ignored;
  socket_.close(ignored);
  count();
  sending_.reset();
  sink_ = {};
  if (const auto owner = std::exchange(owner_, nullptr)) owner->on_closed(*this, reason);
}

void Stream::count() {
  if (!owner_) return;
  const auto sent = transport_->wire_sent(), received = transport_->wire_received();
  owner_->on_moved(sent - counted_sent_, received - counted_received_);
  counted_sent_ = sent;
  counted_received_ = received;
  const auto now = Clock::now();
  if (now - tcp_counted_at_ < tcp_pause || !socket_.is_open()) return;
  tcp_counted_at_ = now;
  const TcpState tcp = tcp_state_of(socket_.native_handle());
  owner_->on_tcp(tcp - counted_tcp_);
  counted_tcp_ = tcp;
}

void Stream::wait_readable() {
  socket_.async_wait(socket_.wait_read, [self = shared_from_this()](const asio::error_code& error) {
    if (!error) self->read_turn();
  });
}

void Stream::wait_writable() {
  if (waiting_to_write_) return;
  waiting_to_write_ = true;
  socket_.async_wait(socket_.wait_write,
                     [self = shared_from_this()](const asio::error_code& error) {
                       self->waiting_to_write_ = false;
                       if (!error) self->write_turn();
                     });
}

bool Stream::go_on(IoStatus status, bool reading) {
  switch (status) {
    case IoStatus::ok:
      return true;
    case IoStatus::want_read:
      if (reading) wait_readable();
      return false;
    case IoStatus::want_write:
      wait_writable();
      return false;
    case IoStatus::closed:
      end("the peer closed the connection");
      return false;
    case IoStatus::failed:
      end(transport_->error());
      return false;
  }
  return false;
}

void Stream::read_turn() {
  std::size_t moved = 0;
  while (!closed_ && owner_ && moved < turn_bytes) {
    const auto [status, bytes] = read_some();
    if (!go_on(status, true)) break;
    got_ += bytes;
    moved += bytes;
    if (got_ == header_bytes && !take_header()) return;
    if (got_ >= header_bytes && got_ == header_bytes + header_.length && !take_frame()) return;
  }
  if (closed_) return;
  count();
  if (moved >= turn_bytes) {
    asio::post(loop_, [self = shared_from_this()] { self->read_turn(); });
  }
}

IoResult Stream::read_some() {
  if (got_ < header_bytes) return transport_->read(std::span(header_bytes_).subspan(got_));
  if (header_.type == FrameType::chunk) return read_chunk_bytes();
  return transport_->read(std::span(body_).subspan(got_ - header_bytes));
}

IoResult Stream::read_chunk_bytes() {
  const std::size_t at = got_ - header_bytes, length = header_.length - 1;
  if (at == length) return transport_->read({&chunk_end_, 1});
  if (sink_.transfer) {
    const auto memory = sink_.transfer->enter(sink_.offset, id_);
    if (!memory.empty()) {
      const auto result = transport_->read(memory.subspan(at, std::min(step_bytes, length - at)));
      sink_.transfer->leave(sink_.offset);
      return result;
    }
  }
  std::array<std::byte, 16 << 10> nowhere;
  return transport_->read(std::span(nowhere).first(std::min(nowhere.size(), length - at)));
}

bool Stream::take_header() {
  std::string violation = decode(header_bytes_, header_);
  if (violation.empty()) {
    if (header_.type == FrameType::chunk) {
      violation = owner_->on_chunk(*this, header_, sink_);
    } else {
      body_.resize(header_.length);
    }
  }
  if (violation.empty()) return true;
  end("the peer " + violation);
  return false;
}

bool Stream::take_frame() {
  got_ = 0;
  if (header_.type == FrameType::chunk) {
    const auto sink = std::exchange(sink_, {});
    owner_->on_chunk_end(*this, sink, chunk_end_ == std::byte{1});
    return true;
  }
  const auto violation = owner_->on_frame(*this, header_, std::exchange(body_, {}));
  if (!violation.empty()) end("the peer " + violation);
  return !closed_;
}

void Stream::write_turn() {
  std::size_t moved = 0;
  while (!closed_ && owner_ && moved < turn_bytes) {
    if (!sending_) {
      auto frame = owner_->next_frame(*this);
      if (!frame) {
        go_on(transport_->flush(), false);
        break;
      }
      const auto header = encode(frame->header);
      sending_.emplace(Sending{std::move(*frame), header});
    }
    const auto [status, bytes] = write_some();
    if (!go_on(status, false)) break;
    sending_->sent += bytes;
    moved += bytes;
    if (sending_->sent < header_bytes + sending_->frame.header.length) continue;
    const bool last = sending_->frame.last;
    sending_.reset();
    if (last) {
      transport_->flush();
      end("closed by this end");
    }
  }
  if (closed_) return;
  count();
  if (moved >= turn_bytes) wake();
}

IoResult Stream::write_some() {
  const Sending& now = *sending_;
  if (now.sent < header_bytes) return transport_->write(std::span(now.header).subspan(now.sent));
  const auto at = now.sent - header_bytes;
  if (now.frame.header.type == FrameType::chunk) return write_chunk_bytes(at);
  return transport_->write(std::span(now.frame.body).subspan(at));
}

IoResult Stream::write_chunk_bytes(std::size_t at) {
  const Chunk& chunk = sending_->frame.chunk;
  if (at == chunk.length) {
    const std::byte end{sending_->good ? std::uint8_t{1} : std::uint8_t{0}};
    return transport_->write({&end, 1});
  }
  const auto count = std::min<std::size_t>(step_bytes, chunk.length - at);
  const auto memory = chunk.transfer->enter();
  if (!memory.empty()) {
    const auto result = transport_->write(memory.subspan(chunk.offset + at, count));
    chunk.transfer->leave();
    return result;
  }
  // The memory is no longer ours: fill the frame up with anything, and say so at its end.
  sending_->good = false;
  static const std::array<std::byte, step_bytes> nothing{};
  return transport_->write(std::span(nothing).first(count));
}

}  // namespace train::wide::detail

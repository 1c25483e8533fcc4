#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include "collectives/wide/stream/io/frame.hpp"
#include "collectives/wide/stream/io/incoming.hpp"
#include "collectives/wide/stream/io/outgoing.hpp"
#include "collectives/wide/stream/io/tcp_state.hpp"
#include "collectives/wide/stream/io/transport.hpp"

namespace train::wide::detail {

/// A frame to send. A chunk's bytes come from its transfer.
struct OutgoingFrame {
  FrameHeader header;
  std::vector<std::byte> body;
  Chunk chunk = {};
  /// The stream closes once this is sent.
  bool last = false;
};

/// Where an arriving chunk goes; no transfer: nowhere.
struct ChunkSink {
  std::shared_ptr<Incoming> transfer;
  std::uint64_t grant = 0, offset = 0;
  std::size_t length = 0;
};

class Stream;

/// The link, as its streams see it; called on their threads.
class StreamOwner {
 public:
  virtual ~StreamOwner() = default;
  virtual std::optional<OutgoingFrame> next_frame(Stream& stream) = 0;
  /// These return what the peer did wrong, if it did; the stream closes then.
  virtual std::string on_frame(Stream& stream, const FrameHeader& header,
                               std::vector<std::byte> body) = 0;
  virtual std::string on_chunk(Stream& stream, const FrameHeader& header, ChunkSink& sink) = 0;
  virtual void on_chunk_end(Stream& stream, const ChunkSink& sink, bool good) = 0;
  virtual void on_moved(std::uint64_t wire_sent, std::uint64_t wire_received) = 0;
  /// What became of TCP's state since the last call.
  virtual void on_tcp(const TcpState& change) = 0;
  virtual void on_closed(Stream& stream, const std::string& reason) = 0;
};

/// One connection between two ends that know each other: sends the frames that its owner hands it,
/// and takes apart what arrives. Lives on one loop.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  Stream(asio::io_context& loop, asio::ip::tcp::socket socket, std::unique_ptr<Transport> transport,
         std::uint64_t id, std::string address);

  // From any thread:
  void start(std::shared_ptr<StreamOwner> owner);
  /// There may be something to send.
  void wake();
  void close(std::string reason);
  /// Closes if the peer's certificate has been revoked since the handshake.
  void check_trust();

  /// Unique in its link, never 0.
  std::uint64_t id() const { return id_; }
  /// The peer's.
  const std::string& address() const { return address_; }

 private:
  struct Sending {
    OutgoingFrame frame;
    HeaderBytes header;
    std::size_t sent = 0;  // of header, body and the chunk's last byte together
    bool good = true;      // the chunk's transfer still lived whenever its bytes were read
  };

  void read_turn();
  void write_turn();
  void wait_readable();
  void wait_writable();
  /// False when the turn is over: the status was handled.
  bool go_on(IoStatus status, bool reading);
  IoResult read_some();
  IoResult read_chunk_bytes();
  bool take_header();
  bool take_frame();
  IoResult write_some();
  IoResult write_chunk_bytes(std::size_t offset);
  void count();
  void end(const std::string& reason);

  asio::io_context& loop_;
  asio::ip::tcp::socket socket_;
  std::unique_ptr<Transport> transport_;
  const std::uint64_t id_;
  const std::string address_;
  std::shared_ptr<StreamOwner> owner_;
  std::atomic<bool> wake_posted_{false};
  bool closed_ = false, reading_ = false, writing_ = false, waiting_to_write_ = false;

  HeaderBytes header_bytes_{};
  FrameHeader header_;
  std::size_t got_ = 0;  // of the frame that arrives, its header included
  std::vector<std::byte> body_;
  ChunkSink sink_;
  std::byte chunk_end_{};

  std::optional<Sending> sending_;
  std::uint64_t counted_sent_ = 0, counted_received_ = 0;
  TcpState counted_tcp_{};
  Clock::time_point tcp_counted_at_{};
};

}  // namespace train::wide::detail

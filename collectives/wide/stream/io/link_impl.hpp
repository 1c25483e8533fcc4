#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "collectives/wide/stream/io/greeting.hpp"
#include "collectives/wide/stream/io/incoming.hpp"
#include "collectives/wide/stream/io/mail.hpp"
#include "collectives/wide/stream/io/outgoing.hpp"
#include "collectives/wide/stream/io/services.hpp"
#include "collectives/wide/stream/io/stream.hpp"
#include "collectives/wide/stream/io/stream_count.hpp"
#include "collectives/wide/stream/link.hpp"

namespace train::wide {

/// One lock guards all but the memory of transfers, whose own locks are taken under it. Streams run
/// on their loops' threads, and ask here what to send next.
class Link::Impl final : public detail::StreamOwner, public std::enable_shared_from_this<Impl> {
 public:
  Impl(detail::Services& services, PeerName peer);
  ~Impl() override;

  // link.cpp: the API.
  void use(LinkOptions options);
  void post(std::span<const std::byte> message);
  Transfer send(std::uint64_t id, std::span<const std::byte> memory, Deadline deadline,
                const SendOptions& options);
  Transfer receive(std::uint64_t id, std::span<std::byte> memory, Deadline deadline);
  bool wait_connected(Deadline deadline);
  /// False if streams are still closing at `deadline`.
  bool wait_closed(Deadline deadline);
  int streams() const;
  LinkTraffic traffic() const;
  void close(const std::string& reason);
  bool closed() const;
  /// The node goes: drops all streams, without waiting for anything.
  void drop();

  // link_streams.cpp: streams come and go.
  const PeerName& peer() const { return peer_; }
  /// The session to answer a peer's with, or why it gets no stream.
  std::variant<std::uint64_t, detail::Denial> answer_hello(std::uint64_t peer_session);
  /// Not empty: why the stream was dropped.
  std::string attach(asio::io_context& loop, detail::Introduced introduced,
                     const std::string& address, bool dialled);
  /// Some 20 times a second: deadlines, dialling, the count of streams.
  void tick(Clock::time_point now);
  /// The list of revoked certificates has changed: streams of such close.
  void check_trust();
  void on_closed(detail::Stream& stream, const std::string& reason) override;

  // link_frames.cpp: what streams carry.
  std::optional<detail::OutgoingFrame> next_frame(detail::Stream& stream) override;
  std::string on_frame(detail::Stream& stream, const detail::FrameHeader& header,
                       std::vector<std::byte> body) override;
  std::string on_chunk(detail::Stream& stream, const detail::FrameHeader& header,
                       detail::ChunkSink& sink) override;
  void on_chunk_end(detail::Stream& stream, const detail::ChunkSink& sink, bool good) override;
  void on_moved(std::uint64_t wire_sent, std::uint64_t wire_received) override;
  void on_tcp(const detail::TcpState& change) override;

 private:
  struct Open {
    std::shared_ptr<detail::Stream> stream;
    bool dialled;
    std::uint32_t number;                         // the dialling end's
    std::deque<detail::OutgoingFrame> answers{};  // for this stream to carry
    bool is_surplus = false;                      // told to close
  };
  struct Slot {  // a stream that this end dials
    std::uint64_t open = 0;
    bool dialling = false;
    int failures = 0;
    Clock::time_point next{};
  };

  /// Takes mutex_ itself.
  void on_dialled(asio::io_context& loop, std::size_t number, const std::string& address,
                  std::variant<detail::Introduced, detail::Denial> result);

  // All under mutex_.
  void require_open() const;
  void wake_all();
  void answer(detail::Stream& stream, detail::FrameType type, std::uint64_t key,
              std::uint64_t value = 0, const std::string& text = {});
  void tell(detail::FrameType type, std::uint64_t grant, const std::string& why);
  void grant(std::uint64_t number, const detail::Incoming& transfer);
  void grant_again();
  void give_up(const std::shared_ptr<detail::Outgoing>& transfer, const std::string& why);
  void give_up(std::uint64_t grant, const std::string& why);
  void fail_all(const std::string& why);
  void forget_peer(const std::string& why);
  /// Takes a session that no peer has been told.
  void begin_anew();
  /// "" for a peer's session that may have streams.
  std::string why_refused(std::uint64_t peer_session) const;
  /// Makes the stream's session the peer's, and forgets an earlier one. Not empty: why the stream
  /// has to go.
  std::string accept_session(const detail::Introduced& introduced);
  /// The stream of this number that the same end opened before, if it is still there.
  void drop_older(bool dialled, std::uint32_t number);
  void expire(Clock::time_point now);
  std::string state_of_streams() const;
  void dial(std::size_t number, Clock::time_point now);
  void close_surplus(const Slot& slot);
  void on_dial_failed(std::size_t number, const std::string& address, const std::string& why);
  void measure(Clock::time_point now);
  std::string on_message(detail::Stream& stream, std::uint64_t number,
                         std::vector<std::byte> content);
  std::string on_grant(const detail::FrameHeader& header, std::span<const std::byte> body);

  detail::Services& services_;
  const PeerName peer_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  LinkOptions options_;
  bool closed_ = false;
  std::string close_reason_, trouble_;  // the last that kept streams away
  std::uint64_t session_;
  std::optional<std::uint64_t> peer_session_;
  std::uint64_t newest_peer_ = 0;       // the greatest that this session has been told to
  std::uint64_t closed_peer_ = 0;       // the last that said goodbye: its link is closed for good
  std::map<std::uint64_t, Open> open_;  // by id; the lowest carries messages
  std::uint64_t streams_made_ = 0;
  std::deque<detail::OutgoingFrame> pending_;  // for any stream to carry
  detail::SendTable sends_;
  detail::ReceiveTable receives_;
  detail::Mail mail_;

  std::vector<Slot> slots_;
  detail::StreamCount count_{1, 1};
  std::size_t next_address_ = 0;
  std::mt19937_64 random_;
  Clock::time_point window_began_{};
  std::uint64_t window_bytes_ = 0;
  bool window_busy_ = false;
  detail::TcpState window_tcp_{}, tcp_{};  // since the window began; since the link was made

  std::atomic<std::uint64_t> payload_sent_{0}, payload_received_{0}, wire_sent_{0},
      wire_received_{0};
};

}  // namespace train::wide

// What a link's streams carry.
#include "collectives/wide/stream/io/link_impl.hpp"

namespace train::wide {

using namespace detail;

namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  std::vector<std::byte> bytes;
  for (const char letter : text.substr(0, reason_bytes_max)) {
    bytes.push_back(static_cast<std::byte>(letter));
  }
  return bytes;
}

std::string text_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    const auto letter = std::to_integer<char>(byte);
    text += letter >= ' ' && letter <= '~' ? letter : '?';
  }
  return text;
}

OutgoingFrame frame(FrameType type, std::uint64_t key, std::uint64_t value,
                    std::vector<std::byte> body) {
  const FrameHeader header{type, static_cast<std::uint32_t>(body.size()), key, value};
  return {.header = header, .body = std::move(body)};
}

}  // namespace

void Link::Impl::wake_all() {
  for (auto& [id, open] : open_) open.stream->wake();
}

void Link::Impl::answer(Stream& stream, FrameType type, std::uint64_t key, std::uint64_t value,
                        const std::string& text) {
  const auto found = open_.find(stream.id());
  if (found == open_.end()) return;
  found->second.answers.push_back(frame(type, key, value, bytes_of(text)));
  stream.wake();
}

void Link::Impl::tell(FrameType type, std::uint64_t grant, const std::string& why) {
  pending_.push_back(frame(type, grant, 0, bytes_of(why)));
  wake_all();
}

void Link::Impl::grant(std::uint64_t number, const Incoming& transfer) {
  std::vector<std::byte> body(grant_bytes);
  put_integer(std::span(body).first(8), transfer.bytes());
  put_integer(std::span(body).subspan(8), transfer.chunk_bytes());
  pending_.push_back(frame(FrameType::grant, number, transfer.id(), std::move(body)));
}

void Link::Impl::grant_again() {
  std::erase_if(pending_, [](const auto& each) { return each.header.type == FrameType::grant; });
  for (const auto& [number, transfer] : receives_.live()) grant(number, *transfer);
}

std::optional<OutgoingFrame> Link::Impl::next_frame(Stream& stream) {
  const std::lock_guard lock(mutex_);
  if (closed_) {
    auto bye = frame(FrameType::bye, 0, 0, bytes_of(close_reason_));
    bye.last = true;
    return bye;
  }
  const auto found = open_.find(stream.id());
  if (found == open_.end()) return std::nullopt;
  for (auto* frames : {&found->second.answers, &pending_}) {
    if (frames->empty()) continue;
    auto first = std::move(frames->front());
    frames->pop_front();
    return first;
  }
  if (found == open_.begin()) {
    if (auto letter = mail_.next(stream.id())) {
      payload_sent_ += letter->content.size();
      return frame(FrameType::message, letter->number, 0, std::move(letter->content));
    }
  }
  if (auto chunk = sends_.next(stream.id())) {
    payload_sent_ += chunk->length;
    const FrameHeader header{FrameType::chunk, chunk->length + 1, chunk->grant, chunk->offset};
    return OutgoingFrame{.header = header, .body = {}, .chunk = std::move(*chunk)};
  }
  return std::nullopt;
}

std::string Link::Impl::on_frame(Stream& stream, const FrameHeader& header,
                                 std::vector<std::byte> body) {
  const std::lock_guard lock(mutex_);
  if (closed_ || !open_.contains(stream.id())) return {};
  switch (header.type) {
    case FrameType::message:
      return on_message(stream, header.key, std::move(body));
    case FrameType::received:
      mail_.on_received(header.key);
      return {};
    case FrameType::grant:
      return on_grant(header, body);
    case FrameType::have:
      sends_.on_have(header.key, header.value);
      return {};
    case FrameType::gone:
      sends_.on_gone(header.key, "sending to " + peer_.to_string() + ": " + text_of(body));
      return {};
    case FrameType::refuse:
      if (const auto transfer = receives_.find(header.key)) {
        receives_.give_up(header.key, "refused by the sender");
        transfer->fail("receiving transfer " + std::to_string(transfer->id()) + " from " +
                       peer_.to_string() + ": " + text_of(body));
      }
      return {};
    case FrameType::bye:
      closed_peer_ = *peer_session_;
      forget_peer("the peer closed the link: " + text_of(body));
      return {};
    case FrameType::hello:
    case FrameType::chunk:
      break;
  }
  return "sent a second hello";
}

std::string Link::Impl::on_message(Stream& stream, std::uint64_t number,
                                   std::vector<std::byte> content) {
  if (mail_.accept(number)) {
    payload_received_ += content.size();
    services_.message(peer_, std::move(content));
  }
  answer(stream, FrameType::received, mail_.accepted());
  return {};
}

std::string Link::Impl::on_grant(const FrameHeader& header, std::span<const std::byte> body) {
  const auto result = sends_.on_grant(header.key, header.value, get_integer(body.first(8)),
                                      static_cast<std::uint32_t>(get_integer(body.subspan(8))));
  if (result.refusal) tell(FrameType::refuse, result.refusal->grant, result.refusal->reason);
  if (result.violation.empty()) wake_all();
  return result.violation;
}

std::string Link::Impl::on_chunk(Stream& stream, const FrameHeader& header, ChunkSink& sink) {
  const std::lock_guard lock(mutex_);
  sink = {receives_.find(header.key), header.key, header.value, header.length - 1};
  if (!sink.transfer) return {};
  if (!sink.transfer->has(header.value, header.length - 1)) {
    return "sent " + std::to_string(header.length - 1) + " bytes at offset " +
           std::to_string(header.value) + " of transfer " + std::to_string(sink.transfer->id()) +
           ", which has no such chunk";
  }
  sink.transfer->claim(header.value, stream.id());
  return {};
}

void Link::Impl::on_chunk_end(Stream& stream, const ChunkSink& sink, bool good) {
  payload_received_ += sink.length;
  if (!good) return;
  const std::lock_guard lock(mutex_);
  if (const auto why = receives_.why_given_up(sink.grant); !why.empty()) {
    answer(stream, FrameType::gone, sink.grant, 0, why);
    return;
  }
  // Of a transfer that is complete nothing is missing.
  if (sink.transfer && !sink.transfer->complete(sink.offset, stream.id())) return;
  answer(stream, FrameType::have, sink.grant, sink.offset);
  if (sink.transfer && sink.transfer->ended()) receives_.remove(sink.grant);
}

void Link::Impl::on_moved(std::uint64_t wire_sent, std::uint64_t wire_received) {
  wire_sent_ += wire_sent;
  wire_received_ += wire_received;
}

void Link::Impl::on_tcp(const TcpState& change) {
  const std::lock_guard lock(mutex_);
  window_tcp_ += change;
  tcp_ += change;
}

}  // namespace train::wide

// How a link's streams come and go.
#include <algorithm>

#include "collectives/wide/stream/io/link_impl.hpp"

namespace train::wide {

using namespace detail;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t streams_max = LinkOptions::streams_max;

/// Doubles from 100 ms to 5 s; half of it is chance, so that many ends do not dial in step.
milliseconds pause_after(int failures, std::mt19937_64& random) {
  const auto longest = std::min(100 << std::min(failures - 1, 6), 5000);
  return milliseconds(std::uniform_int_distribution<int>(longest / 2, longest)(random));
}

}  // namespace

// Streams that are open are of the later one of two processes. When all have ended, clocks decide
// nothing: then whoever comes is the peer.
std::string Link::Impl::why_refused(std::uint64_t peer_session) const {
  if (peer_session == closed_peer_) return "that link is closed";
  if (open_.empty() || peer_session >= *peer_session_) return {};
  return "a later process called " + peer_.to_string() + " has taken its place";
}

std::variant<std::uint64_t, Denial> Link::Impl::answer_hello(std::uint64_t peer_session) {
  const std::lock_guard lock(mutex_);
  if (auto why = why_refused(peer_session); !why.empty()) {
    return Denial{std::move(why), peer_session_.value_or(0)};
  }
  if (peer_session_ != peer_session && peer_session <= newest_peer_) {
    // It may go on where it left off, which this end has forgotten: so it is to forget that, too.
    if (peer_session_) forget_peer("an earlier process of the peer came back");
    begin_anew();
  }
  return session_;
}

void Link::Impl::begin_anew() {
  session_ = services_.draw_session();
  newest_peer_ = 0;
}

// Both ends of a stream know each other by the same two sessions, and both know nothing else or the
// same of what was under way between these.
std::string Link::Impl::accept_session(const Introduced& introduced) {
  const std::uint64_t theirs = introduced.peer.session;
  if (introduced.own_session != session_) return "this end has begun anew meanwhile";
  if (peer_session_ == theirs) return {};
  if (auto why = why_refused(theirs); !why.empty()) return why;
  const bool forgotten = theirs <= newest_peer_;
  if (peer_session_) forget_peer("the peer came back as another process, or opened a new link");
  if (forgotten) {
    begin_anew();
    return "this end begins anew";
  }
  peer_session_ = newest_peer_ = theirs;
  return {};
}

std::string Link::Impl::attach(asio::io_context& loop, Introduced introduced,
                               const std::string& address, bool dialled) {
  const std::lock_guard lock(mutex_);
  const Hello& hello = introduced.peer;
  if (auto why = accept_session(introduced); !why.empty()) return why;
  drop_older(dialled, hello.stream);
  if (open_.size() >= streams_max) {
    return peer_.to_string() + " has " + std::to_string(streams_max) + " streams already";
  }
  const auto id = ++streams_made_;
  auto stream = std::make_shared<Stream>(loop, std::move(introduced.socket),
                                         std::move(introduced.transport), id, address);
  if (open_.empty() && !closed_) services_.up(peer_);
  // Of a closed link it carries the goodbye, for which the peer would wait otherwise.
  open_.emplace(id, Open{stream, dialled, hello.stream});
  if (dialled && hello.stream < slots_.size()) slots_[hello.stream].open = id;
  trouble_.clear();
  grant_again();
  stream->start(shared_from_this());
  wake_all();
  changed_.notify_all();
  return {};
}

void Link::Impl::drop_older(bool dialled, std::uint32_t number) {
  const auto older = std::ranges::find_if(open_, [&](const auto& entry) {
    return entry.second.dialled == dialled && entry.second.number == number;
  });
  if (older == open_.end()) return;
  const auto stream = older->second.stream;
  stream->close("the peer opened it anew");
  sends_.on_stream_lost(stream->id());
  open_.erase(older);
}

void Link::Impl::on_closed(Stream& stream, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  const auto closed = open_.extract(stream.id());
  if (closed.empty()) return;  // replaced, or the peer was forgotten
  sends_.on_stream_lost(stream.id());
  changed_.notify_all();
  if (closed_) return;
  if (!closed.mapped().is_surplus) {
    trouble_ = stream.address() + ": " + reason;
    services_.log("lost a stream to " + peer_.to_string() + " at " + trouble_ + "; " +
                  std::to_string(open_.size()) + " left");
  }
  if (open_.empty()) services_.down(peer_, reason);
  grant_again();
  wake_all();
}

void Link::Impl::forget_peer(const std::string& why) {
  const bool was_up = !open_.empty();
  for (auto& [id, open] : open_) open.stream->close(why);
  open_.clear();
  peer_session_.reset();
  fail_all(why);
  trouble_ = why;
  if (was_up) services_.down(peer_, why);
  changed_.notify_all();
}

std::string Link::Impl::state_of_streams() const {
  if (!open_.empty()) return std::to_string(open_.size()) + " streams are open";
  return "no stream is open" + (trouble_.empty() ? "" : " (" + trouble_ + ")");
}

void Link::Impl::expire(Clock::time_point now) {
  const auto why = [this](const Transfer::State& transfer) {
    return "its deadline passed with " + std::to_string(transfer.progress()) + " of " +
           std::to_string(transfer.bytes()) + " bytes there; " + state_of_streams();
  };
  for (const auto& transfer : sends_.all()) {
    if (transfer->deadline() <= now) give_up(transfer, why(*transfer));
  }
  std::vector<std::uint64_t> late;
  for (const auto& [number, transfer] : receives_.live()) {
    if (transfer->deadline() <= now) late.push_back(number);
  }
  for (const auto number : late) give_up(number, why(*receives_.find(number)));
}

void Link::Impl::tick(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  expire(now);
  measure(now);
  if (options_.addresses.empty()) return;
  const auto wanted = static_cast<std::size_t>(count_.wanted());
  slots_.resize(std::max(slots_.size(), wanted));
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (i >= wanted) {
      close_surplus(slot);
    } else if (!slot.dialling && !open_.contains(slot.open) && slot.next <= now) {
      dial(i, now);
    }
  }
}

void Link::Impl::check_trust() {
  const std::lock_guard lock(mutex_);
  for (auto& [id, open] : open_) open.stream->check_trust();
}

// What is under way on it goes over the others, as when it is lost.
void Link::Impl::close_surplus(const Slot& slot) {
  const auto surplus = open_.find(slot.open);
  if (surplus == open_.end() || std::exchange(surplus->second.is_surplus, true)) return;
  surplus->second.stream->close("fewer streams carry as much");
}

void Link::Impl::measure(Clock::time_point now) {
  const bool busy = !sends_.empty() || !receives_.live().empty();
  window_busy_ = window_busy_ && busy && open_.size() >= static_cast<std::size_t>(count_.wanted());
  const double seconds = std::chrono::duration<double>(now - window_began_).count();
  if (seconds < 1) return;
  const auto bytes = wire_sent_ + wire_received_;
  if (window_busy_) {
    count_.measure(static_cast<double>(bytes - window_bytes_) / seconds,
                   window_tcp_.is_held_back());
  }
  window_began_ = now;
  window_bytes_ = bytes;
  window_busy_ = busy;
  window_tcp_ = {};
}

void Link::Impl::dial(std::size_t number, Clock::time_point now) {
  Slot& slot = slots_[number];
  slot.dialling = true;
  slot.next = now + milliseconds(100);  // should the stream die at once
  const auto address = options_.addresses[next_address_++ % options_.addresses.size()];
  auto& loop = services_.loops.next();
  const Hello hello{session_, static_cast<std::uint32_t>(number), services_.self, peer_};
  auto done = [link = weak_from_this(), &loop, number,
               address](std::variant<Introduced, Denial> result) {
    if (const auto self = link.lock()) self->on_dialled(loop, number, address, std::move(result));
  };
  detail::dial(
      loop, address, services_.tls_impl(), services_.options.handshake_max, hello,
      [this, is_thin = options_.is_thin](int socket) {
        services_.prepare(socket);
        if (is_thin) detail::Services::keep_pace(socket);
      },
      std::move(done));
}

void Link::Impl::on_dialled(asio::io_context& loop, std::size_t number, const std::string& address,
                            std::variant<Introduced, Denial> result) {
  std::string why;
  if (const auto* denial = std::get_if<Denial>(&result)) {
    why = denial->why;
    if (denial->later_session > services_.last_session()) {
      services_.replaced(peer_, address + ": " + why);
    }
  } else {
    auto& introduced = std::get<Introduced>(result);
    introduced.peer.stream = static_cast<std::uint32_t>(number);
    why = attach(loop, std::move(introduced), address, true);
  }
  const std::lock_guard lock(mutex_);
  if (!why.empty()) return on_dial_failed(number, address, why);
  slots_[number].dialling = false;
  slots_[number].failures = 0;
}

void Link::Impl::on_dial_failed(std::size_t number, const std::string& address,
                                const std::string& why) {
  Slot& slot = slots_[number];
  slot.dialling = false;
  slot.next = Clock::now() + pause_after(++slot.failures, random_);
  const auto trouble = address + ": " + why;
  if (closed_ || trouble == trouble_) return;  // said already
  trouble_ = trouble;
  services_.log("cannot reach " + peer_.to_string() + " at " + trouble + "; trying again");
}

}  // namespace train::wide

#include "collectives/wide/service/member_client_impl.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/wide/protocol/wire.hpp"
#include "collectives/wide/service/numbered.hpp"

namespace train::wide {
namespace {

using std::chrono::milliseconds;

// Heartbeats that ask whether all before them has arrived have numbers that Member's never reach.
constexpr std::uint64_t flush_sequence = std::uint64_t{1} << 63;
constexpr milliseconds flush_max{1000};

TimeMs ms(Clock::time_point time) {
  return std::chrono::duration_cast<milliseconds>(time.time_since_epoch()).count();
}

LinkOptions link_options(const std::vector<std::string>& addresses) {
  LinkOptions options;
  options.addresses = addresses;
  options.streams = 1;
  options.is_thin = true;
  return options;
}

}  // namespace

PeerName coordinator_name() {
  return {"coordinator", 0};
}

MemberClient::Impl::Impl(MemberClientOptions given, std::uint64_t first_number)
    : member(given.member, given.state), options_(std::move(given)), number_(first_number) {
  timer_ = std::thread([this] { run(); });
}

void MemberClient::Impl::start(Node& node) {
  const std::lock_guard lock(mutex_);
  invariant(node_ == nullptr, "a member's client starts once");
  link_ = node.link(coordinator_name(), link_options(options_.coordinator));
  node_ = &node;
  silent_since = Clock::now();
}

void MemberClient::Impl::stop() {
  std::unique_lock lock(mutex_);
  if (stopping_) return;
  if (open_ && heard) {
    post(encode(Heartbeat{flush_sequence}));
    changed_.wait_until(lock, Clock::now() + flush_max, [this] { return flushed_ > 0 || !open_; });
  }
  stopping_ = ended = true;
  close({});
  if (link_) link_->close("cluster " + options_.member.self.name + " has ended");
  link_.reset();
  changed_.notify_all();
  say(lock);
  timer_.join();
}

std::optional<MemberOrder> MemberClient::Impl::next(Deadline deadline) {
  std::unique_lock lock(mutex_);
  loop_called();
  loop_waits_ = true;
  std::optional<MemberOrder> order = orders.pop();
  while (!order && !stopping_) {
    const bool late = changed_.wait_until(lock, deadline) == std::cv_status::timeout;
    order = orders.pop();
    if (late) break;
  }
  loop_waits_ = false;
  loop_called_at_ = Clock::now();
  return order;
}

void MemberClient::Impl::loop_called() {
  const auto now = Clock::now();
  longest_pause_ = std::max(longest_pause_, now - loop_called_at_);
  loop_called_at_ = now;
  if (!std::exchange(loop_hangs_, false)) return;
  log(Log::Level::info, "this cluster goes on: it connects to the coordinator again");
  silent_since = now;
  open();
}

Clock::time_point MemberClient::Impl::hangs_at() const {
  constexpr std::chrono::hours years(10 * 366 * 24);  // what is longer means never
  const Clock::duration least = std::min<std::chrono::milliseconds>(options_.hang_min, years);
  return loop_called_at_ + std::clamp(4 * longest_pause_, least, 6 * least);
}

void MemberClient::Impl::give_up_loop(Clock::time_point now) {
  loop_hangs_ = true;
  const auto pause = std::chrono::duration_cast<std::chrono::seconds>(now - loop_called_at_);
  log(Log::Level::warning,
      fmt::format("no step, evaluation or save of this cluster has ended for {} s: it hangs. It "
                  "leaves the others to go on without it, until it goes on itself",
                  pause.count()));
  close({});
}

/// The thread of the member's clock.
void MemberClient::Impl::run() {
  try {
    keep_time();
  } catch (const std::exception& error) {
    const std::lock_guard lock(mutex_);
    orders.push(Stop{true, false, false, error.what()});
    ended = true;
    changed_.notify_all();
  }
}

void MemberClient::Impl::keep_time() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    auto until = Clock::now() + std::chrono::hours(1);
    if (wake_) until = std::min(until, *wake_);
    if (reopen_) until = std::min(until, *reopen_);
    if (loop_watched()) until = std::min(until, hangs_at());
    changed_.wait_until(lock, until);
    if (stopping_) return;
    const auto now = Clock::now();
    if (loop_watched() && now >= hangs_at()) give_up_loop(now);
    if (reopen_ && now >= *reopen_) {
      reopen_.reset();
      open();
    }
    if (wake_ && now >= *wake_) {
      wake_.reset();
      carry_out(member.tick(ms(now)));
    }
    say(lock);
    lock.lock();
  }
}

void MemberClient::Impl::link_up() {
  if (stopping_) return;
  up_ = true;
  close({});
  open();
}

void MemberClient::Impl::link_down(const std::string& reason) {
  if (stopping_) return;
  if (heard) log(Log::Level::warning, "the link to the coordinator is down: " + reason);
  up_ = false;
  close({});
}

void MemberClient::Impl::open() {
  if (!up_ || ended || open_ || loop_hangs_) return;
  open_ = true;
  ++number_;
  carry_out(member.connected(ms(Clock::now())));
}

void MemberClient::Impl::close(std::optional<Clock::time_point> again) {
  reopen_ = again;
  wake_.reset();
  if (!std::exchange(open_, false)) return;
  failures_ = heard ? 0 : failures_ + 1;
  if (std::exchange(heard, false)) silent_since = Clock::now();
  carry_out(member.disconnected());
  changed_.notify_all();
}

void MemberClient::Impl::arrived(std::span<const std::byte> message) {
  const auto numbered = split_number(message);
  if (!numbered || numbered->number != number_ || !open_) return;  // of another connection
  const auto again = Clock::now() + milliseconds(250 << std::min(failures_, 4));
  if (numbered->content.empty()) return close(again);
  const Decoded decoded = decode(numbered->content);
  if (!decoded.message) {
    log(Log::Level::warning, "the coordinator sent " + decoded.error + ": connecting again");
    return close(again);
  }
  heard = true;
  silent_since.reset();
  if (const auto* directory = std::get_if<Directory>(&*decoded.message)) {
    roster = {roster.version + 1, directory->next.epoch, directory->peers};
  } else if (const auto* beat = std::get_if<Beat>(&*decoded.message)) {
    if (beat->sequence >= flush_sequence) flushed_ = beat->sequence;
  }
  carry_out(member.receive(*decoded.message, ms(Clock::now())));
  changed_.notify_all();
}

void MemberClient::Impl::carry_out(MemberActions actions) {
  for (MemberAction& action : actions) carry_out(action);
}

void MemberClient::Impl::carry_out(const MemberAction& action) {
  if (const auto* send = std::get_if<Send>(&action)) {
    if (open_) post(encode(send->message));
  } else if (std::holds_alternative<Reconnect>(action)) {
    // Not a new connection alone: the way of the old one may be dead, and nobody have noticed.
    up_ = false;
    close({});
    if (!link_) return;
    link_->close("the coordinator is silent");
    link_ = node_->link(coordinator_name(), link_options(options_.coordinator));
  } else if (const auto* wake = std::get_if<WakeAt>(&action)) {
    wake_ = Clock::time_point(milliseconds(wake->at_ms));
    changed_.notify_all();
  } else if (const auto* line = std::get_if<Log>(&action)) {
    logged_.push_back(*line);
  } else {
    std::visit(
        [this](const auto& order) {
          using Order = std::decay_t<decltype(order)>;
          if constexpr (std::is_constructible_v<MemberOrder, Order>) orders.push(order);
        },
        action);
    ended = ended || std::holds_alternative<Stop>(action);
    loop_may_end_ = ended || loop_may_end_ || std::holds_alternative<JobFinished>(action);
    changed_.notify_all();
  }
}

void MemberClient::Impl::post(std::span<const std::byte> content) {
  if (!link_) return;
  try {
    link_->post(with_number(number_, content));
  } catch (const Error& error) {
    log(Log::Level::warning, error.what());
    close(Clock::now() + milliseconds(1000));
  }
}

void MemberClient::Impl::log(Log::Level level, std::string text) {
  logged_.push_back({level, std::move(text)});
}

/// Without the lock, which is not taken again.
void MemberClient::Impl::say(std::unique_lock<std::mutex>& lock) {
  const std::vector<Log> lines = std::exchange(logged_, {});
  lock.unlock();
  if (!options_.on_log) return;
  for (const Log& line : lines) {
    try {
      options_.on_log(line);
    } catch (const std::exception&) {
      // A line that cannot be written is no reason for a cluster to end.
    }
  }
}

}  // namespace train::wide

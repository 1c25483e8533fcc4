#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <type_traits>

#include "collectives/wide/service/member_client.hpp"

namespace train::wide {

PeerName coordinator_name();

/// One lock guards all but next()'s waiting and on_log, which may use the client.
class MemberClient::Impl {
 public:
  Impl(MemberClientOptions given, std::uint64_t first_number);

  void start(Node& node);
  void stop();
  std::optional<MemberOrder> next(Deadline deadline);

  /// Runs `call` under the lock, then says what it logged.
  template <typename Call>
  std::invoke_result_t<Call> locked(Call call) {
    std::unique_lock lock(mutex_);
    if constexpr (std::is_void_v<std::invoke_result_t<Call>>) {
      call();
      say(lock);
    } else {
      auto result = call();
      say(lock);
      return result;
    }
  }

  // All under the lock.
  void link_up();
  void link_down(const std::string& reason);
  void arrived(std::span<const std::byte> message);
  void carry_out(MemberActions actions);
  /// A sign of life of the loop that carries out orders.
  void loop_called();

  Member member;
  OrderQueue orders;
  Roster roster;
  bool ended = false;  // a Stop was given: no new connection
  bool heard = false;  // the coordinator has said something on this connection
  std::optional<Clock::time_point> silent_since;

 private:
  void run();
  void keep_time();
  void open();
  bool loop_watched() const { return open_ && !loop_waits_ && !loop_may_end_; }
  Clock::time_point hangs_at() const;
  void give_up_loop(Clock::time_point now);
  /// This end's or the other's: what still comes on it is dropped. Opened anew at `again`, if the
  /// link is up then.
  void close(std::optional<Clock::time_point> again);
  void carry_out(const MemberAction& action);
  void post(std::span<const std::byte> content);
  void log(Log::Level level, std::string text);
  void say(std::unique_lock<std::mutex>& lock);

  MemberClientOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread timer_;
  std::vector<Log> logged_;

  Node* node_ = nullptr;
  std::optional<Link> link_;
  bool up_ = false;    // the link
  bool open_ = false;  // the connection
  std::uint64_t number_;
  int failures_ = 0;  // connections in a row on which nothing was heard
  std::optional<Clock::time_point> wake_, reopen_;
  Clock::time_point loop_called_at_ = Clock::now();
  Clock::duration longest_pause_{};
  bool loop_waits_ = false;  // in next()
  bool loop_hangs_ = false;
  bool loop_may_end_ = false;  // the job is over
  std::uint64_t flushed_ = 0;  // the last of our own heartbeats that was answered
};

}  // namespace train::wide

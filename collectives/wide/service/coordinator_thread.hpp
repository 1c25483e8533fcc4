#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "collectives/wide/service/coordinator_server.hpp"
#include "collectives/wide/service/event_log.hpp"
#include "collectives/wide/service/journal_file.hpp"
#include "collectives/wide/service/sessions.hpp"

namespace train::wide {

/// The coordinator's thread: takes what the node's events queue, asks the protocol, and does what
/// it says before it looks at the next one.
class CoordinatorThread {
 public:
  /// Opens the journal.
  explicit CoordinatorThread(const CoordinatorServerOptions& options);

  /// These only queue.
  NodeEvents node_events();
  void start(Node& node);
  void stop();
  bool wait(Deadline deadline);

 private:
  struct Mail {
    PeerName peer;
    std::vector<std::byte> message;
  };
  struct Down {
    PeerName peer;
    std::string reason;
  };
  struct TooMuchMail {
    PeerName peer;
  };
  struct Line {
    std::string text;
  };
  using Event = std::variant<Mail, Down, TooMuchMail, Line>;

  void queue(Event event);
  void queue_mail(const PeerName& peer, std::vector<std::byte> message);

  // On the thread.
  void run();
  void work();
  /// Mail that waits says who is alive, however long the disk keeps this thread from reading it.
  void hear_queued();
  void on(const Mail& mail);
  void on(const Down& down);
  void on(const TooMuchMail& flood);
  void on(const Line& line);
  void receive(const PeerName& peer, SessionId session, std::span<const std::byte> content);
  void end(const PeerName& peer, SessionId session);
  void carry_out(const CoordinatorActions& actions);
  void carry_out(const SendTo& send);
  void post(const PeerName& peer, std::uint64_t number, std::span<const std::byte> content);
  /// Once for each peer.
  void complain(const PeerName& peer, const std::string& what);
  void log(Log::Level level, const std::string& text);
  bool job_is_over();

  const std::chrono::milliseconds linger_;
  const std::function<void(const Log&)> on_log_;
  JournalFile journal_;
  EventLog events_;
  Coordinator coordinator_;
  Node* node_ = nullptr;
  Sessions sessions_;
  std::map<SessionId, std::string> names_;  // of clusters that said Hello
  std::set<PeerName> complained_;
  Clock::time_point wake_ = Clock::time_point::max();
  std::optional<Clock::time_point> finished_at_, quiet_since_;
  bool concluded_ = false;  // at some time; who has left since then need not be known any more

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> queue_;
  std::map<PeerName, std::size_t> queued_bytes_;
  std::set<PeerName> heard_;  // whose mail came since hear_queued()
  bool stopping_ = false, over_ = false;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace train::wide

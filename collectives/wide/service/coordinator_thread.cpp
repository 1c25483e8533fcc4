#include "collectives/wide/service/coordinator_thread.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/wide/protocol/wire.hpp"
#include "collectives/wide/service/numbered.hpp"

namespace train::wide {
namespace {

using std::chrono::milliseconds;

/// Of one peer, and not looked at yet. A sound one has a few hundred bytes here.
constexpr std::size_t queued_bytes_max = 16 << 20;
/// A member that heard of the end but whose link broke just then comes back within this time.
constexpr milliseconds quiet_max{2000};

/// Peers' words end up in lines for people, where they may neither begin a line nor move a cursor.
std::string readable(std::string text) {
  for (char& letter : text) {
    if (static_cast<unsigned char>(letter) < ' ' || letter == '\x7f') letter = '?';
  }
  return text;
}

TimeMs now_ms() {
  return std::chrono::duration_cast<milliseconds>(Clock::now().time_since_epoch()).count();
}

}  // namespace

CoordinatorThread::CoordinatorThread(const CoordinatorServerOptions& options)
    : linger_(options.linger),
      on_log_(options.on_log),
      journal_(options.journal),
      events_(options.events, [this](const std::string& line) { log(Log::Level::warning, line); }),
      coordinator_(options.coordinator, journal_.replayed().state, now_ms()) {
  const Replay& replayed = journal_.replayed();
  if (replayed.records > options.coordinator.compact_after_records) {
    journal_.compact(journal_frame(replayed.state));
  }
}

NodeEvents CoordinatorThread::node_events() {
  NodeEvents events;
  events.on_message = [this](const PeerName& peer, std::vector<std::byte> message) {
    queue_mail(peer, std::move(message));
  };
  events.on_down = [this](const PeerName& peer, const std::string& reason) {
    queue(Down{peer, reason});
  };
  events.on_log = [this](const std::string& line) { queue(Line{line}); };
  return events;
}

void CoordinatorThread::queue(Event event) {
  const std::lock_guard lock(mutex_);
  queue_.push_back(std::move(event));
  changed_.notify_all();
}

void CoordinatorThread::queue_mail(const PeerName& peer, std::vector<std::byte> message) {
  const std::lock_guard lock(mutex_);
  heard_.insert(peer);
  std::size_t& bytes = queued_bytes_[peer];
  if (bytes > queued_bytes_max) return;  // said already
  bytes += message.size();
  if (bytes > queued_bytes_max) {
    queue_.push_back(TooMuchMail{peer});
  } else {
    queue_.push_back(Mail{peer, std::move(message)});
  }
  changed_.notify_all();
}

void CoordinatorThread::start(Node& node) {
  node_ = &node;
  thread_ = std::thread([this] { run(); });
}

void CoordinatorThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

bool CoordinatorThread::wait(Deadline deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [this] { return over_ || failure_ != nullptr; });
  if (failure_) std::rethrow_exception(failure_);
  return over_;
}

void CoordinatorThread::run() {
  try {
    const Replay& replayed = journal_.replayed();
    if (journal_.cut_bytes() > 0) {
      log(Log::Level::warning,
          fmt::format("{}: cut off {} bytes of a write that a crash had torn; nobody had heard of "
                      "what it said",
                      journal_.path().string(), journal_.cut_bytes()));
    }
    log(Log::Level::info,
        fmt::format("{} records in {}{}", replayed.records, journal_.path().string(),
                    replayed.state.committed
                        ? ": the job goes on after " + to_string(replayed.state.committed->id)
                        : ""));
    events_.started(coordinator_.state());
    carry_out(coordinator_.tick(now_ms()));
    work();
    events_.stopped(coordinator_.state());
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    changed_.notify_all();
  }
}

void CoordinatorThread::work() {
  for (;;) {
    const bool over = job_is_over();
    std::deque<Event> events;
    {
      std::unique_lock lock(mutex_);
      over_ = over_ || over;
      if (over) changed_.notify_all();
      const auto until = std::min(wake_, Clock::now() + milliseconds(200));
      changed_.wait_until(lock, until, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      events.swap(queue_);
      queued_bytes_.clear();
    }
    for (const Event& event : events) {
      hear_queued();
      std::visit([this](const auto& each) { on(each); }, event);
    }
    hear_queued();
    if (Clock::now() >= wake_) {
      wake_ = Clock::time_point::max();
      carry_out(coordinator_.tick(now_ms()));
    }
  }
}

void CoordinatorThread::hear_queued() {
  std::set<PeerName> heard;
  {
    const std::lock_guard lock(mutex_);
    heard.swap(heard_);
  }
  for (const PeerName& peer : heard) {
    if (const SessionId session = sessions_.of(peer)) coordinator_.heard(session, now_ms());
  }
}

void CoordinatorThread::on(const Mail& mail) {
  const auto numbered = split_number(mail.message);
  if (!numbered) return complain(mail.peer, "it sent a message without a number");
  if (mail.peer.lane != 0) {
    return complain(mail.peer, "a cluster speaks to its coordinator by its lane 0 alone");
  }
  const Sessions::Arrival arrival = sessions_.arrived(mail.peer, numbered->number);
  if (arrival.ended != 0) end(mail.peer, arrival.ended);
  if (arrival.say_closed) post(mail.peer, numbered->number, {});
  if (arrival.session != 0) receive(mail.peer, arrival.session, numbered->content);
}

void CoordinatorThread::receive(const PeerName& peer, SessionId session,
                                std::span<const std::byte> content) {
  const Decoded decoded = decode(content);
  const auto refuse = [&](const std::string& reason) {
    complain(peer, reason);
    carry_out(SendTo{session, Refused{reason}});
    carry_out(CoordinatorActions{Close{session}});
    carry_out(coordinator_.disconnected(session, now_ms()));
  };
  if (!decoded.message) return refuse("it sent " + decoded.error);
  if (const auto* hello = std::get_if<Hello>(&*decoded.message)) {
    if (hello->self.name != peer.cluster) {
      return refuse(fmt::format("it says that it is \"{}\", which it cannot prove",
                                hello->self.name.substr(0, 64)));
    }
    names_[session] = peer.cluster;
    events_.cluster("connected", peer.cluster);
  }
  carry_out(coordinator_.receive(session, *decoded.message, now_ms()));
}

void CoordinatorThread::end(const PeerName& peer, SessionId session) {
  if (names_.erase(session) > 0) events_.cluster("disconnected", peer.cluster);
  carry_out(coordinator_.disconnected(session, now_ms()));
}

void CoordinatorThread::on(const Down& down) {
  if (const SessionId ended = sessions_.lost(down.peer); ended != 0) end(down.peer, ended);
}

void CoordinatorThread::on(const TooMuchMail& flood) {
  complain(flood.peer, "it sends faster than anyone can read");
  on(Down{flood.peer, {}});  // what comes next is told that its connection is closed
}

void CoordinatorThread::on(const Line& line) {
  log(Log::Level::info, line.text);
}

void CoordinatorThread::carry_out(const CoordinatorActions& actions) {
  for (const CoordinatorAction& action : actions) {
    if (const auto* append = std::get_if<Append>(&action)) {
      journal_.append(append->frame);
      events_.record(append->record);
    } else if (const auto* compact = std::get_if<Compact>(&action)) {
      journal_.compact(compact->journal);
    } else if (const auto* send = std::get_if<SendTo>(&action)) {
      carry_out(*send);
    } else if (const auto* close = std::get_if<Close>(&action)) {
      if (const auto place = sessions_.place(close->session)) {
        post(place->peer, place->number, {});
        if (names_.erase(close->session) > 0) events_.cluster("disconnected", place->peer.cluster);
      }
      sessions_.close(close->session);
    } else if (const auto* line = std::get_if<Log>(&action)) {
      log(line->level, line->text);
    } else if (const auto* wake = std::get_if<WakeAt>(&action)) {
      wake_ = Clock::time_point(milliseconds(wake->at_ms));
    }
  }
}

void CoordinatorThread::carry_out(const SendTo& send) {
  if (const auto* abort = std::get_if<Abort>(&send.message)) events_.aborted(abort->id);
  const auto place = sessions_.place(send.session);
  if (!place) return;
  if (const auto* refused = std::get_if<Refused>(&send.message)) {
    events_.cluster("refused", place->peer.cluster, refused->reason);
  }
  try {
    post(place->peer, place->number, encode(send.message));
  } catch (const Error& error) {  // too long
    log(Log::Level::warning, fmt::format("{}: {}", place->peer.to_string(), error.what()));
    queue(Down{place->peer, error.what()});
  }
}

void CoordinatorThread::post(const PeerName& peer, std::uint64_t number,
                             std::span<const std::byte> content) {
  try {
    node_->link(peer).post(with_number(number, content));
  } catch (const Error& error) {  // it does not read
    log(Log::Level::warning, error.what());
    queue(Down{peer, error.what()});
  }
}

void CoordinatorThread::complain(const PeerName& peer, const std::string& what) {
  if (!complained_.insert(peer).second) return;
  log(Log::Level::warning, fmt::format("{} is refused: {}", peer.to_string(), what));
}

void CoordinatorThread::log(Log::Level level, const std::string& text) {
  try {
    if (on_log_) on_log_({level, readable(text)});
  } catch (const std::exception&) {
    // A line that cannot be written is no reason for a job to end.
  }
}

/// Whether there is nothing left to do: the job is over, and whoever could ask has been told, or
/// had its time to come.
bool CoordinatorThread::job_is_over() {
  if (!coordinator_.finished()) return false;
  const auto now = Clock::now();
  if (!finished_at_) {
    finished_at_ = now;
    log(Log::Level::info, "the job is over: " + to_string(coordinator_.state().committed->id));
    events_.finished(coordinator_.state());
  }
  concluded_ = concluded_ || coordinator_.concluded();
  if (!concluded_ || sessions_.open() > 0) {
    quiet_since_.reset();
  } else if (!quiet_since_) {
    quiet_since_ = now;
  }
  if (quiet_since_ && now >= *quiet_since_ + quiet_max) return true;
  // Members hear of the end even if nobody is to be waited for, and a late one may be fetching.
  return now >= *finished_at_ + std::max(linger_, quiet_max) && coordinator_.everyone_told();
}

}  // namespace train::wide

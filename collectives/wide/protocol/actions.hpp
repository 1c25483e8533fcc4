#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "collectives/wide/protocol/archive.hpp"
#include "collectives/wide/protocol/messages.hpp"
#include "collectives/wide/protocol/state.hpp"

namespace train::wide {

// What the state machines ask of the I/O around them. Actions are carried out in order.

struct Log {
  enum class Level : std::uint8_t { info, warning } level = Level::info;
  std::string text;
};
/// Call tick() then. Replaces the wish before it.
struct WakeAt {
  TimeMs at_ms = 0;
};

/// A connection that the coordinator accepted; never 0, never used twice in one process.
using SessionId = std::uint64_t;

struct SendTo {
  SessionId session = 0;
  Message message;
};
/// Closes the connection after what was sent on it before. disconnected() need not follow.
struct Close {
  SessionId session = 0;
};
/// Appends a frame to the journal and makes it durable (fsync). No later action may be carried out
/// before that: this is what makes a decision irrevocable before anyone hears of it.
struct Append {
  Record record;
  Bytes frame;  // it, as the journal holds it
};
/// Replaces the whole journal by this one (new file, fsync, rename, fsync of the directory), with
/// the same promise.
struct Compact {
  Bytes journal;
};
using CoordinatorAction = std::variant<SendTo, Close, Append, Compact, Log, WakeAt>;
using CoordinatorActions = std::vector<CoordinatorAction>;

/// To the coordinator, on the present connection; dropped if there is none.
struct Send {
  Message message;
};
/// Gives the connection up and dials again: the coordinator has been silent for too long.
struct Reconnect {};
/// Train this round: take() samples, then round_finished().
struct BeginRound {
  std::uint64_t round = 0;
};
/// Call round_finished() after the inner step that is running.
struct FinishRound {
  std::uint64_t round = 0;
};
/// take() may give more now; if `exhausted`, it gives what is left, the last there is for now.
struct LeaseChanged {
  bool exhausted = false;
};
/// Run this exchange on the inputs that the last round_finished() froze: exchange_done() or
/// exchange_failed() must follow. The old outer state stays, whatever comes of it.
struct RunExchange {
  Start start;
};
/// Stop this exchange, or forget its result.
struct StopExchange {
  ExchangeId id;
};
/// Apply the result of this exchange, then call applied().
struct ApplyExchange {
  StateInfo state;
};
/// Forget all training since the last commit: back to the outer state (of ApplyExchange, if that
/// came before). What was taken is leased to others now.
struct Discard {
  std::string reason;
};
/// Get this state from that cluster, check its hash, make it the outer state, call fetched() or
/// fetch_failed(). Replaces a fetch that is running.
struct FetchState {
  Fetch fetch;
};
/// Stop the fetch that is running: the outer state stays what it is.
struct StopFetch {};
/// All rounds are done, or all samples trained; the outer state is the result. Said once.
struct JobFinished {};
/// End the program: released after leave(), too late for a job that is over, or refused by the
/// coordinator. Only the last is a failure.
struct Stop {
  bool refused = false;
  bool last = false;      // nobody else holds the state: keep it
  bool finished = false;  // the job is over; what this cluster holds is not its result
  std::string reason;
};
using MemberAction =
    std::variant<Send, Reconnect, BeginRound, FinishRound, LeaseChanged, RunExchange, StopExchange,
                 ApplyExchange, Discard, FetchState, StopFetch, JobFinished, Stop, Log, WakeAt>;
using MemberActions = std::vector<MemberAction>;

}  // namespace train::wide

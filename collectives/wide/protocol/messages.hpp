#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "collectives/wide/protocol/types.hpp"

namespace train::wide {

// What members say to the coordinator. README.md tells who says what when.

/// The first message of every connection.
struct Hello {
  std::uint64_t job = 0;  // hash of what all clusters must agree on: model, data, seed, schedule
  std::uint64_t rounds_total = 0;  // the job ends with this round; 0: never by count of rounds
  Identity self;
  Offer offer;
  StateInfo committed;                // the outer state it holds
  std::optional<ExchangeId> pending;  // an exchange it finished and has no decision about
  std::uint64_t since = 0;            // the epoch that it believes to have entered; 0: none
};

/// Sent at every interval, answered by Beat.
struct Heartbeat {
  std::uint64_t sequence = 0;
};

struct LinkInfo {
  std::string peer;
  std::uint32_t rtt_us = 0;
};
/// The links that are up now, all of them.
struct Links {
  std::vector<LinkInfo> up;
};

/// Wants `samples` more than it has leased.
struct LeaseRequest {
  std::uint64_t epoch = 0, samples = 0;
};

/// Inner steps are over; `next` names the first exchange that it can take part in.
struct Ready {
  ExchangeId next;
  std::uint64_t tokens = 0;
  std::uint32_t inner_steps = 0;
  std::uint64_t state_hash = 0;      // of the outer state that its inner steps began from
  RangeSet used;                     // what the tokens came from
  std::uint64_t bandwidth_kbit = 0;  // per second, of the whole cluster; 0: not known
};

/// The exchange is finished here; applying it would give a state of this hash.
struct Done {
  ExchangeId id;
  std::uint64_t hash = 0;
};

/// The exchange cannot be finished here; `peer` is who did not answer, empty if it is its own
/// fault.
struct Failed {
  ExchangeId id;
  std::string peer;
};

/// Its outer state is this one, and it has nothing pending: after a commit, a fetch or a reset.
struct Holds {
  StateInfo state;
};

struct FetchFailed {
  ExchangeId id;
  std::string source;
};

/// Wants to be gone within this time.
struct Leave {
  std::uint64_t notice_ms = 0;
};

// What the coordinator says to members.

/// All clusters of the job, and who is in the epoch. A member that is not in it, or entered it at
/// another time than it believes, drops whatever it did since its last commit.
struct Directory {
  struct Peer {
    Identity self;
    Offer offer;
    std::uint64_t since = 0;        // the epoch that it entered; 0: not in the epoch
    std::uint64_t first_round = 0;  // the first round that it trains; before, it only listens
  };
  ExchangeId next;  // epoch, and the exchange that is running or may come next
  std::vector<Peer> peers;
};

/// Everything that this member has leased and that is not committed yet.
struct Lease {
  std::uint64_t epoch = 0;
  RangeSet ranges;
  bool exhausted = false;  // nothing is left to lease
};

/// Ends the inner steps of this round: say Ready with what there is.
struct Finish {
  std::uint64_t epoch = 0, round = 0;
};

struct Start {
  struct Participant {
    Identity self;
    std::uint64_t tokens = 0;       // its weight; if all are 0 the averaged change is zero
    std::uint32_t slice_begin = 0;  // of share_parts; see slice_of
  };
  ExchangeId id;
  std::vector<Participant> participants;  // by name: the order of summation
};

struct Abort {
  ExchangeId id;
};

/// The decision: durable before it is sent.
struct Commit {
  StateInfo state;
  bool finished = false;  // every round is done, or every sample trained: the job is over
};

/// Get this state from there.
struct Fetch {
  StateInfo state;
  Identity source;
};

struct Beat {
  std::uint64_t sequence = 0;
};

/// Go. With `last`, nobody else holds the state: keep it. With `finished`, the job is over, and
/// nobody is left to get its last state from.
struct Released {
  bool last = false;
  bool finished = false;
};

/// Never come back without a change: another job, a state that cannot be, a name taken over.
struct Refused {
  std::string reason;
};

/// Why this cluster still waits: something that people can change.
struct Notice {
  std::string text;
};

/// The order is the type byte on the wire: append only.
using Message = std::variant<Hello, Heartbeat, Links, LeaseRequest, Ready, Done, Failed, Holds,
                             FetchFailed, Leave, Directory, Lease, Finish, Start, Abort, Commit,
                             Fetch, Beat, Released, Refused, Notice>;

/// "Hello", "Ready", …
const char* name_of(const Message& message);

}  // namespace train::wide

#pragma once

#include <deque>
#include <optional>
#include <variant>

#include "collectives/wide/protocol/actions.hpp"

namespace train::wide {

/// What the cluster is to do: MemberAction less what the client does by itself (Send, Reconnect,
/// WakeAt, Log).
using MemberOrder = std::variant<BeginRound, FinishRound, LeaseChanged, RunExchange, StopExchange,
                                 ApplyExchange, Discard, FetchState, StopFetch, JobFinished, Stop>;

/// Orders that were given and not seen yet, in their order. What a later one makes pointless goes,
/// so that a cluster that was busy does not do it after all.
class OrderQueue {
 public:
  void push(MemberOrder order);
  std::optional<MemberOrder> pop();
  /// The inner steps are over: an unseen order to end them has no more point.
  void round_finished();

  /// An unseen order says that training so far is void, and with it what it asks and reports.
  bool voids_training() const;
  /// An unseen order replaces or stops the fetch that is running.
  bool voids_fetch() const;

 private:
  template <typename... Orders>
  bool holds() const;
  template <typename Order>
  void erase();
  bool erase_run(const ExchangeId& id);

  std::deque<MemberOrder> orders_;
};

}  // namespace train::wide

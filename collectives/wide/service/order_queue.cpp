#include "collectives/wide/service/order_queue.hpp"

#include <algorithm>
#include <utility>

namespace train::wide {

template <typename... Orders>
bool OrderQueue::holds() const {
  return std::any_of(orders_.begin(), orders_.end(), [](const MemberOrder& order) {
    return (std::holds_alternative<Orders>(order) || ...);
  });
}

template <typename Order>
void OrderQueue::erase() {
  std::erase_if(orders_, [](const auto& order) { return std::holds_alternative<Order>(order); });
}

bool OrderQueue::erase_run(const ExchangeId& id) {
  return std::erase_if(orders_, [&](const auto& order) {
           const auto* run = std::get_if<RunExchange>(&order);
           return run != nullptr && run->start.id == id;
         }) > 0;
}

void OrderQueue::push(MemberOrder order) {
  if (const auto* stop = std::get_if<StopExchange>(&order)) {
    if (erase_run(stop->id)) return;  // neither begun nor to be stopped
  } else if (std::holds_alternative<Discard>(order)) {
    // Exchanges have their own end; what was to be applied before stays to be applied.
    erase<BeginRound>();
    erase<FinishRound>();
    erase<LeaseChanged>();
  } else if (std::holds_alternative<LeaseChanged>(order)) {
    erase<LeaseChanged>();
  } else if (std::holds_alternative<FetchState>(order) ||
             std::holds_alternative<StopFetch>(order)) {
    erase<FetchState>();
  }
  orders_.push_back(std::move(order));
}

std::optional<MemberOrder> OrderQueue::pop() {
  if (orders_.empty()) return std::nullopt;
  MemberOrder first = std::move(orders_.front());
  orders_.pop_front();
  return first;
}

void OrderQueue::round_finished() {
  erase<FinishRound>();
}

bool OrderQueue::voids_training() const {
  return holds<Discard, FetchState, Stop>();
}

bool OrderQueue::voids_fetch() const {
  return holds<FetchState, StopFetch, Stop>();
}

}  // namespace train::wide

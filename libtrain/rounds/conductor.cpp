#include "libtrain/rounds/conductor.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace train {
namespace {

using std::chrono::milliseconds;
using Kind = Order::Kind;

// How long the first rank waits for orders at a time: others wait for it meanwhile, asleep but for
// the first millisecond (mpi::Backoff), and it hears from them only afterwards. In an exchange that
// is a small part of what it has taken so far.
constexpr milliseconds idle_wait{10}, exchange_wait_min{1}, exchange_wait_max{10};
constexpr int exchange_waits = 32;

bool same(const std::vector<wide::LinkInfo>& a, const std::vector<wide::LinkInfo>& b) {
  return std::ranges::equal(a, b, [](const wide::LinkInfo& x, const wide::LinkInfo& y) {
    // Round trips tell near from far: a small change is no news.
    const auto far = std::max(x.rtt_us, y.rtt_us);
    return x.peer == y.peer && far - std::min(x.rtt_us, y.rtt_us) <= 500 + far / 4;
  });
}

Order of_kind(Kind kind) {
  Order order;
  order.kind = kind;
  return order;
}

Order with_text(Kind kind, std::string text) {
  Order order = of_kind(kind);
  order.text = std::move(text);
  return order;
}

Order stop_order(JobEnd end, std::string why) {
  Order order = with_text(Kind::stop, std::move(why));
  order.number = static_cast<std::uint64_t>(end);
  return order;
}

Order with_state(Kind kind, const wide::StateInfo& state) {
  Order order = of_kind(kind);
  order.state = state;
  return order;
}

}  // namespace

Conductor::Conductor(wide::MemberClient& client, RoundOptions options, const JobOptions& job,
                     const RoundPlan& plan, const RoundCalendar& calendar, EgressGuard egress)
    : client_(client),
      options_(options),
      cluster_(job.cluster),
      bandwidth_kbit_(job.bandwidth_kbit),
      patience_(job.patience),
      batch_(plan.batch),
      calendar_(calendar),
      departure_(client, std::move(egress), job.leave_notice, job.patience),
      committed_round_(client.committed().id.round),
      tokens_(static_cast<std::size_t>(options.fragments), 0) {}

Order Conductor::decide(const ClusterStatus& status, std::optional<std::uint64_t> result) {
  if (!status.replaced.empty()) {
    return after_apply(with_text(
        Kind::cut_off, fmt::format("cluster {} runs twice, and this is the one that began "
                                   "earlier: {}. Give clusters different names (--cluster)",
                                   cluster_, status.replaced)));
  }
  departure_.announce(status.leaves);
  if (!same(status.links, links_)) {
    links_ = status.links;
    client_.links_changed(links_);
  }
  client_.bandwidth_measured(bandwidth_kbit_ > 0 ? bandwidth_kbit_ : status.bandwidth_kbit);
  report(status, result);
  if (after_apply_ && !apply_) return *std::exchange(after_apply_, std::nullopt);
  if (!fatal_.empty()) return with_text(Kind::fail, fatal_);
  if (const auto overdue = departure_.overdue()) {
    return after_apply(left(fmt::format("cluster {} ends by itself: {}", cluster_, *overdue)));
  }
  if (fetching_ && status.fetch == LaneLinks::FetchStage::done) {
    return with_state(Kind::adopt, *fetching_);
  }
  if (auto order = roster()) return *order;
  if (apply_ && !runs_ahead()) return with_state(Kind::apply, *apply_);
  const bool busy = (in_round() || runs_ahead()) && !starved_ && !departure_.is_broke();
  auto until = Clock::now() + (busy ? Clock::duration::zero() : wait_for_orders());
  while (const auto order = client_.next(until)) {
    if (auto translated = translate(*order)) return *translated;
    until = Clock::now();
  }
  if (auto order = train()) return *order;
  if (auto order = lost_patience()) return *order;
  return {};
}

Clock::duration Conductor::wait_for_orders() const {
  if (!running_) return idle_wait;
  return std::clamp<Clock::duration>((Clock::now() - running_since_) / exchange_waits,
                                     exchange_wait_min, exchange_wait_max);
}

void Conductor::report(const ClusterStatus& status, std::optional<std::uint64_t> result) {
  if (running_) {
    if (!status.exchange.fatal.empty()) {
      fatal_ = fmt::format("{}: {}", wide::to_string(*running_), status.exchange.fatal);
    } else if (status.exchange.stage == LaneExchange::Stage::failed) {
      client_.exchange_failed(*running_, status.exchange.peer);
      running_.reset();
    } else if (status.exchange.stage == LaneExchange::Stage::done && result) {
      client_.exchange_done(*running_, *result);
      running_.reset();
    }
  }
  if (fetching_ && status.fetch == LaneLinks::FetchStage::failed) {
    client_.fetch_failed(fetching_->id);
    fetching_.reset();
  }
}

std::optional<Order> Conductor::roster() {
  auto roster = client_.roster();
  if (roster.version == roster_version_) return std::nullopt;
  roster_version_ = roster.version;
  departure_.egress().use(roster.peers);
  Order order = of_kind(Kind::roster);
  order.number = roster.epoch;
  order.peers = std::move(roster.peers);
  return order;
}

std::optional<Order> Conductor::translate(const wide::MemberOrder& order) {
  if (std::holds_alternative<wide::BeginRound>(order)) {
    if (!begun_ && steps_ == 0) round_began_ = Clock::now();
    begun_ = true;
    exhausted_ = starved_ = false;
  } else if (std::holds_alternative<wide::FinishRound>(order)) {
    finish_ = in_round();
  } else if (const auto* lease = std::get_if<wide::LeaseChanged>(&order)) {
    exhausted_ = lease->exhausted;
    starved_ = false;
  } else if (const auto* run = std::get_if<wide::RunExchange>(&order)) {
    running_ = run->start.id;
    running_since_ = Clock::now();
    departure_.egress().use(run->start);
    Order made = of_kind(Kind::run_exchange);
    made.start = run->start;
    return made;
  } else if (const auto* stop = std::get_if<wide::StopExchange>(&order)) {
    running_.reset();
    Order made = of_kind(Kind::stop_exchange);
    made.state.id = stop->id;
    return made;
  } else if (const auto* apply = std::get_if<wide::ApplyExchange>(&order)) {
    apply_ = apply->state;
    if (!runs_ahead()) return with_state(Kind::apply, *apply_);
  } else if (const auto* discard = std::get_if<wide::Discard>(&order)) {
    begin_anew();
    return after_apply(with_text(Kind::discard, discard->reason));
  } else if (const auto* fetch = std::get_if<wide::FetchState>(&order)) {
    fetching_ = fetch->fetch.state;
    Order made = with_state(Kind::fetch, *fetching_);
    made.text = fetch->fetch.source.name;
    return made;
  } else if (std::holds_alternative<wide::StopFetch>(order)) {
    fetching_.reset();
    return of_kind(Kind::stop_fetch);
  } else if (std::holds_alternative<wide::JobFinished>(order)) {
    return stop_order(JobEnd::finished, "the job is finished");
  } else if (const auto* end = std::get_if<wide::Stop>(&order)) {
    if (end->refused) {
      return after_apply(with_text(
          Kind::cut_off,
          fmt::format("cluster {} cannot take part in the job: {}", cluster_, end->reason)));
    }
    Order made = end->finished ? stop_order(JobEnd::too_late, departure_.reason(end->reason))
                               : left(end->reason);
    if (end->last) made.text = "released, as the last that has the job's state";
    return after_apply(std::move(made));
  }
  return std::nullopt;
}

// A commit that was put off stands: it comes first.
Order Conductor::after_apply(Order order) {
  if (!apply_) return order;
  after_apply_ = std::move(order);
  return with_state(Kind::apply, *apply_);
}

void Conductor::begin_anew() {
  begun_ = frozen_ = finish_ = starved_ = false;
  steps_ = 0;
  std::ranges::fill(tokens_, 0);
  running_.reset();
}

bool Conductor::runs_ahead() const {
  const std::int64_t ahead = std::min(options_.overlap_steps, calendar_.steps(round()));
  return frozen_ && steps_ < ahead && !exhausted_;
}

bool Conductor::round_is_over() const {
  if (finish_ || steps_ >= calendar_.steps(round())) return true;
  return options_.round_time.count() > 0 && steps_ > 0 &&
         Clock::now() - round_began_ >= options_.round_time;
}

std::optional<Order> Conductor::train() {
  if (in_round() && steps_ == 0 && !pays(1)) return std::nullopt;
  if (in_round() && round_is_over()) return end_round();
  if (!in_round() && !runs_ahead()) return std::nullopt;
  Order order = of_kind(Kind::train);
  order.samples = client_.take(static_cast<std::uint64_t>(batch_));
  starved_ = order.samples.empty();
  if (starved_) {
    if (exhausted_ && in_round()) return end_round();
    return std::nullopt;
  }
  order.number = static_cast<std::uint64_t>(calendar_.first_step(round()) + steps_);
  return order;
}

// With money for this exchange alone, the cluster goes once that is over.
Order Conductor::end_round() {
  if (!pays(1)) return {};
  if (round() < calendar_.rounds()) pays(2);
  Order order = of_kind(Kind::end_round);
  order.number = round();
  client_.round_finished(take_tokens(), static_cast<std::uint32_t>(steps_));
  begun_ = finish_ = false;
  frozen_ = true;
  steps_ = 0;
  round_began_ = Clock::now();
  return order;
}

// What the round's exchange counts for: the tokens that its fragments, or the one of them that was
// exchanged longest ago, were trained on since.
std::uint64_t Conductor::take_tokens() {
  std::uint64_t most = 0;
  const FragmentRange fragments = calendar_.fragments(round());
  for (int i = fragments.first; i < fragments.last; ++i) {
    most = std::max(most, std::exchange(tokens_[static_cast<std::size_t>(i)], 0));
  }
  return most;
}

Order Conductor::left(const std::string& why) const {
  return stop_order(departure_.budget_spent() ? JobEnd::budget_spent : JobEnd::left,
                    departure_.reason(why));
}

bool Conductor::pays(int exchanges) {
  double usd = 0.0;
  for (int i = 0; i < exchanges; ++i) {
    const std::uint64_t exchanged = round() + static_cast<std::uint64_t>(i);
    usd += departure_.egress().exchange_usd(calendar_.fragments(exchanged));
  }
  return departure_.can_pay(usd, exchanges);
}

std::optional<Order> Conductor::lost_patience() {
  const auto since = client_.disconnected_since();
  if (!since || Clock::now() - *since < patience_) return std::nullopt;
  return after_apply(with_text(
      Kind::cut_off,
      fmt::format("cluster {} has not reached the coordinator for {} s: start it again with the "
                  "same --journal, or wait longer (--coordinator-timeout)",
                  cluster_, std::chrono::duration_cast<std::chrono::seconds>(patience_).count())));
}

void Conductor::trained(std::uint64_t tokens) {
  ++steps_;
  for (std::uint64_t& of_fragment : tokens_) of_fragment += tokens;
}

void Conductor::applied(const wide::StateInfo& state, std::uint64_t hash) {
  apply_.reset();
  frozen_ = false;
  committed_round_ = state.id.round;
  client_.applied(hash);
}

void Conductor::adopted(const wide::StateInfo& state, std::uint64_t hash) {
  fetching_.reset();
  if (hash != state.hash) return client_.fetch_failed(state.id);
  begin_anew();
  committed_round_ = state.id.round;
  client_.fetched(state.id, hash);
}

}  // namespace train

#include "libtrain/rounds/lane_exchange.hpp"

#include <algorithm>
#include <cmath>
#include <new>
#include <optional>

#include <fmt/format.h>

#include "collectives/wide/exchange/exchange.hpp"
#include "collectives/wide/protocol/slices.hpp"

namespace train {
namespace {

// Exchanges' transfers have ids of their own over a link's whole life: the low 24 bits count within
// one, the highest is left to other uses.
std::uint64_t id_base(const wide::ExchangeId& id) {
  const std::uint64_t epoch = id.epoch & 0x7ff;
  const std::uint64_t round = id.round & 0x3fffff;
  const std::uint64_t attempt = id.attempt & 0x3f;
  return (epoch << 28 | round << 6 | attempt) << 24;
}

wide::ExchangePlan plan_of(const wide::Start& start, std::size_t count) {
  std::vector<std::uint32_t> cuts;
  wide::ExchangePlan plan;
  for (const auto& participant : start.participants) {
    cuts.push_back(participant.slice_begin);
    plan.weights.push_back(participant.tokens);
  }
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    const wide::Range slice = wide::slice_of(count, cuts, i, wide::codec_block);
    plan.owned.push_back(static_cast<std::size_t>(slice.end - slice.begin));
  }
  return plan;
}

// Blocks, then their sums: the order does not depend on the processor.
double sum_of_squares(std::span<const float> values) {
  double total = 0.0;
  for (std::size_t begin = 0; begin < values.size(); begin += wide::codec_block) {
    double block = 0.0;
    const std::size_t end = std::min(values.size(), begin + wide::codec_block);
    for (std::size_t i = begin; i < end; ++i) {
      const double value = values[i];
      block += value * value;
    }
    total += block;
  }
  return total;
}

}  // namespace

struct LaneExchange::Attempt {
  std::vector<wide::ExchangePlan> plans;  // of the fragments used
  std::vector<std::string> names;         // of participants, in their order
  std::map<std::string, wide::Link> links;
  std::map<std::string, Clock::time_point> down_since;
  std::unique_ptr<wide::LinkPeers> peers;
  std::thread thread;
  std::mutex mutex;
  Outcome outcome{.stage = Stage::running, .peer = {}, .fatal = {}};
  Clock::time_point quiet_until{};  // a failure before is not said yet
};

LaneExchange::LaneExchange(Options options, std::span<const std::size_t> counts)
    : options_(options) {
  for (const std::size_t count : counts) {
    parts_.push_back({count, LaneValues(options.memory), LaneValues(options.memory),
                      wide::ExchangeFeedback(options.codec, count, options.memory)});
  }
}

LaneExchange::~LaneExchange() {
  stop("this cluster ends");
}

void LaneExchange::use(FragmentRange fragments) {
  stop("another round ends");
  used_ = fragments;
  for (int i = 0; i < static_cast<int>(parts_.size()); ++i) {
    Part& one = part(i);
    if (i < fragments.first || i >= fragments.last) {
      // Of an empty list, a vector would keep its memory.
      one.values = LaneValues(options_.memory);
      one.mean = LaneValues(options_.memory);
    } else {
      one.values.resize(one.count);
      one.mean.resize(one.count);
    }
  }
}

std::span<LaneExchange::Part> LaneExchange::used() {
  return std::span(parts_).subspan(static_cast<std::size_t>(used_.first),
                                   static_cast<std::size_t>(used_.last - used_.first));
}

void LaneExchange::start(const wide::Start& start, const std::string& self,
                         const std::map<std::string, wide::Link>& links) {
  stop("another attempt begins");
  attempt_ = std::make_unique<Attempt>();
  Attempt& attempt = *attempt_;
  std::uint64_t first_id = 0;
  for (const Part& part : used()) {
    attempt.plans.push_back(plan_of(start, part.count));
    attempt.plans.back().first_id = first_id;
    first_id += wide::ids_needed(attempt.plans.back());
  }
  std::map<int, wide::Link> by_place;
  int own = -1;
  for (const auto& participant : start.participants) {
    const std::string& name = participant.self.name;
    const auto place = static_cast<int>(attempt.names.size());
    attempt.names.push_back(name);
    if (name == self) {
      own = place;
    } else if (const auto link = links.find(name); link != links.end()) {
      by_place.emplace(place, link->second);
      attempt.links.emplace(name, link->second);
    } else {
      return fail(attempt, name, "");
    }
  }
  invariant(own >= 0, "a cluster takes part in the exchanges that it is told to run");
  has_weight_ = start.participants[static_cast<std::size_t>(own)].tokens > 0;
  attempt.peers = std::make_unique<wide::LinkPeers>(static_cast<int>(attempt.names.size()), own,
                                                    std::move(by_place), options_.transfer_max,
                                                    id_base(start.id));
  bandwidth_.begin(attempt.links);
  attempt.thread = std::thread([this, &attempt] { run(attempt); });
}

void LaneExchange::run(Attempt& attempt) {
  try {
    exchange(attempt);
    const std::lock_guard lock(attempt.mutex);
    attempt.outcome.stage = Stage::done;
  } catch (const wide::NotEncodable& error) {
    const std::string tensor = not_finite();
    fail(attempt, "",
         fmt::format("{}{}{}. Lower --lr or clip harder (--clip)", tensor,
                     tensor.empty() ? "" : ": ", error.what()));
  } catch (const Error&) {
    const std::optional<int> failed = attempt.peers->first_failed();
    fail(attempt, failed ? attempt.names[static_cast<std::size_t>(*failed)] : "", "");
  } catch (const std::bad_alloc&) {
    fail(attempt, "",
         "this machine has no more memory for the exchange; with more --fragments or --lanes, a "
         "rank has less at once");
  } catch (const std::exception& error) {
    fail(attempt, "", error.what());
  }
}

// The first tensor with such a value; none where the sum alone went out of range.
std::string LaneExchange::not_finite() const {
  for (int i = used_.first; options_.tensor_of && i < used_.last; ++i) {
    const LaneValues& values = parts_.at(static_cast<std::size_t>(i)).values;
    const auto found = std::ranges::find_if_not(values, [](float x) { return std::isfinite(x); });
    if (found == values.end()) continue;
    return options_.tensor_of(i, static_cast<std::size_t>(found - values.begin()));
  }
  return {};
}

void LaneExchange::exchange(Attempt& attempt) {
  const auto& weights = attempt.plans.front().weights;
  encoded_ = !std::ranges::all_of(weights, [](auto weight) { return weight == 0; });
  mean_squares_ = 0.0;
  const std::span<Part> parts = used();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Part& part = parts[i];
    if (encoded_) {
      wide::exchange(*attempt.peers, attempt.plans[i], part.feedback, part.values, part.mean);
    } else {
      std::ranges::fill(part.mean, 0.0f);
    }
    mean_squares_ += sum_of_squares(part.mean);
  }
}

void LaneExchange::fail(Attempt& attempt, std::string peer, std::string fatal) {
  const std::lock_guard lock(attempt.mutex);
  if (attempt.outcome.stage != Stage::running) return;
  attempt.outcome = {Stage::failed, std::move(peer), std::move(fatal)};
  const bool echo = attempt.peers != nullptr && attempt.outcome.fatal.empty();
  attempt.quiet_until = echo ? Clock::now() + options_.echo_max : Clock::now();
}

void LaneExchange::stop(const std::string& reason) {
  if (attempt_ == nullptr) return;
  if (attempt_->peers != nullptr) attempt_->peers->stop(reason);
  if (attempt_->thread.joinable()) attempt_->thread.join();
  attempt_.reset();
}

LaneExchange::Outcome LaneExchange::poll() {
  if (attempt_ == nullptr) return {};
  Attempt& attempt = *attempt_;
  const auto now = Clock::now();
  for (auto& [name, link] : attempt.links) {
    if (link.streams() > 0) {
      attempt.down_since.erase(name);
      continue;
    }
    const auto since = attempt.down_since.try_emplace(name, now).first->second;
    if (now - since < options_.link_down_max) continue;
    const std::lock_guard lock(attempt.mutex);
    if (attempt.outcome.stage == Stage::done || !attempt.outcome.fatal.empty()) break;
    attempt.outcome = {Stage::failed, name, {}};
    attempt.quiet_until = now;
    break;
  }
  Outcome outcome;
  {
    const std::lock_guard lock(attempt.mutex);
    outcome = attempt.outcome;
    if (outcome.stage == Stage::failed && now < attempt.quiet_until) outcome.stage = Stage::running;
  }
  // Its transfers would wait for the link until their own, longer deadline.
  if (outcome.stage == Stage::failed && attempt.peers != nullptr) {
    attempt.peers->stop("cluster " + outcome.peer + " does not answer");
  }
  return outcome;
}

void LaneExchange::commit() {
  for (Part& part : used()) {
    encoded_ ? part.feedback.commit(has_weight_) : part.feedback.discard();
  }
  if (encoded_) bandwidth_.end();
  stop("it is committed");
}

void LaneExchange::forget() {
  stop("its values were discarded");
  for (Part& part : parts_) part.feedback.discard();
}

void LaneExchange::reset() {
  stop("the cluster begins anew");
  for (Part& part : parts_) part.feedback.reset();
}

}  // namespace train

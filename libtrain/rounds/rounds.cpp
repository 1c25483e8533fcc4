#include "libtrain/rounds/rounds.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include "collectives/wide/stream/local_address.hpp"
#include "libtrain/agreement.hpp"
#include "libtrain/rounds/rounds_lane.hpp"

namespace train {
namespace {

std::uint64_t milliseconds_of_clock() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}

// "host:port" with the port moved on; port 0 stays.
std::string address_of_lane(const std::string& address, int lane) {
  const std::size_t colon = address.rfind(':');
  const int port = colon == std::string::npos ? 0 : std::atoi(address.c_str() + colon + 1);
  if (port == 0 || lane == 0) return address;
  return fmt::format("{}:{}", address.substr(0, colon), port + lane);
}

}  // namespace

Rounds::Rounds(const Grid& grid, ShardedOptimizer& optimizer, RoundOptions options, JobOptions job)
    : grid_(grid),
      memory_(grid.device().memory(MemoryUse::lanes)),
      optimizer_(optimizer),
      options_(options.checked()),
      job_(job.checked()),
      calendar_(options_, plan_.last_step),
      parameters_(optimizer.full_precision()),
      fragments_(parameters_, options_.fragments),
      exchanged_(steps_parameters() ? optimizer.gradients() : fragments_.in_order(parameters_)),
      lanes_(grid, exchanged_, fragments_, options_.lanes, memory_) {
  if (!job_.advertise.empty() && std::ssize(job_.advertise) != options_.lanes) {
    throw Error(fmt::format("--advertise has {} addresses, but --lanes is {}: each lane needs one",
                            job_.advertise.size(), options_.lanes));
  }
  for (const LogicalTensor& tensor : exchanged_) {
    if (tensor.type == DataType::f32) continue;
    throw Error(fmt::format("clusters exchange f32; the {} of {} are {}",
                            steps_parameters() ? "gradients" : "parameters", tensor.name,
                            name_of(tensor.type)));
  }
  parameters_ = fragments_.in_order(parameters_);
  if (lanes_.lane() >= 0) make_lane();
  auto state = std::make_shared<OuterState>();
  for (int i = 0; i < fragments_.count(); ++i) {
    const std::size_t count = lanes_.count(i);
    LaneValues values(count * static_cast<std::size_t>(1 + kept()), &memory_);
    lanes_.collect(parameters_, i, std::span(values).first(count));
    state->fragments.push_back(std::make_shared<OuterFragment>(std::move(values)));
  }
  if (lane_) lane_->state = std::move(state);
  state_.hash = combined_hash(lane_ ? lane_->state->hash() : 0);
}

void Rounds::make_lane() {
  std::vector<std::size_t> counts;
  for (int i = 0; i < fragments_.count(); ++i) counts.push_back(lanes_.count(i));
  lane_ = std::make_unique<Lane>(
      counts,
      LaneExchange::Options{.codec = options_.codec,
                            .transfer_max = job_.transfer_max,
                            .tensor_of =
                                [this](int fragment, std::size_t value) {
                                  return exchanged_.at(lanes_.tensor_of(fragment, value)).name;
                                },
                            .memory = &memory_},
      outer_optimizer());
}

Rounds::~Rounds() {
  if (leader_) leader_->close();
}

std::unique_ptr<OuterOptimizer> Rounds::outer_optimizer() const {
  if (!steps_parameters()) return std::make_unique<OuterNesterov>(options_.outer);
  std::vector<OuterAdamW::Segment> segments;
  const auto decays = optimizer_.decays();
  std::size_t begin = 0;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto size =
        static_cast<std::size_t>(lanes_.layout().layout(i).local_elements(grid_.rank()));
    if (size > 0) segments.push_back({begin, begin + size, decays[i]});
    begin += size;
  }
  return std::make_unique<OuterAdamW>(optimizer_.config(), std::move(segments));
}

void Rounds::begin(const RoundPlan& plan) {
  invariant(!has_begun_, "rounds begin once");
  plan_ = plan.checked();
  has_begun_ = true;
  // A job that stops before its schedule is over goes on behind a whole round: a round's number
  // says where the schedule stands.
  if (plan.last_step < plan.steps) {
    plan_.last_step = std::min(plan.steps, calendar_.end_of_round(plan.last_step));
  }
  if (plan_.last_step > plan.last_step && grid_.rank() == 0) {
    log(fmt::format("--stop-at {}: the job ends with the round of that step, after step {}",
                    plan.last_step, plan_.last_step));
  }
  calendar_ = RoundCalendar(options_, plan_.last_step);
  // All ranks of the cluster wait for its lanes, and hear why one could not listen.
  std::string failure;
  try {
    if (job_.coordinator.empty()) throw Error("no address of the coordinator (--coordinator)");
    if (grid_.rank() == 0) {
      leader_ = std::make_unique<Leader>(job_.egress, [this](const auto& line) { log(line); });
    }
    if (lane_) open_lane();
  } catch (const Error& error) {
    failure = options_.lanes > 1 ? fmt::format("lane {}, on rank {}: {}", lanes_.lane(),
                                               grid_.rank(), error.what())
                                 : error.what();
  }
  if (const std::string said = first_said(grid_.world(), failure); !said.empty()) throw Error(said);

  std::vector<std::string> addresses;
  for (int lane = 0; lane < options_.lanes && !job_.outbound_only; ++lane) {
    const bool mine = lanes_.lane() == lane;
    addresses.push_back(first_said(grid_.world(), mine ? lane_->links->address() : ""));
  }
  if (leader_) open_leader(addresses);
}

void Rounds::open_lane() {
  const auto lane = static_cast<std::size_t>(lanes_.lane());
  LaneLinksOptions options;
  options.cluster = job_.cluster;
  options.lane = static_cast<std::uint32_t>(lane);
  options.certificates = job_.certificates;
  options.streams = job_.streams;
  options.memory = &memory_;
  options.on_log = [this](const std::string& line) { log(line); };
  options.towards = job_.coordinator;
  if (!job_.outbound_only) {
    const std::string listen = !job_.listen.empty() ? job_.listen
                               : job_.certificates  ? wide::listen_anywhere(job_.coordinator)
                                                    : "127.0.0.1:0";
    options.listen = address_of_lane(listen, lanes_.lane());
    if (lane < job_.advertise.size()) options.advertise = job_.advertise[lane];
  }
  wide::NodeEvents coordinator;
  if (leader_) {
    Leader& leader = *leader_;
    coordinator.on_up = [&leader](const auto&) {
      leader.with_client([](auto& client) { client.on_up(); });
    };
    coordinator.on_down = [&leader](const auto&, const std::string& why) {
      leader.with_client([&](auto& client) { client.on_down(why); });
    };
    coordinator.on_message = [&leader](const auto&, std::vector<std::byte> bytes) {
      leader.with_client([&](auto& client) { client.on_message(std::move(bytes)); });
    };
  }
  lane_->links = std::make_unique<LaneLinks>(std::move(options), std::move(coordinator));
  lane_->links->serve(lane_->state);
  if (job_.egress.budget_usd) lane_->links->serve_to(std::vector<std::string>{});
}

void Rounds::open_leader(const std::vector<std::string>& addresses) {
  wide::MemberClientOptions options;
  options.member.job = job_hash();
  options.member.rounds_total = calendar_.rounds();
  options.member.self = {job_.cluster, milliseconds_of_clock()};
  options.member.offer.addresses = addresses;
  options.member.offer.lanes = static_cast<std::uint32_t>(options_.lanes);
  // A round ahead, so that a coordinator that is away for some time holds nobody up.
  const std::int64_t rounds_ahead = options_.overlap_steps > 0 ? 2 : 1;
  options.member.lease_samples =
      static_cast<std::uint64_t>(plan_.batch * calendar_.steps_max() * rounds_ahead);
  options.member.heartbeat = job_.heartbeat;
  options.state = state_;
  options.coordinator = job_.coordinator;
  options.hang_min = job_.hang_min;
  options.on_log = [this](const wide::Log& line) { log(line.text); };
  {
    const std::lock_guard lock(leader_->mutex);
    leader_->client = std::make_unique<wide::MemberClient>(std::move(options));
  }
  leader_->conductor = std::make_unique<Conductor>(*leader_->client, options_, job_, plan_,
                                                   calendar_, egress_guard());
  leader_->client->start(lane_->links->node());
}

EgressGuard Rounds::egress_guard() const {
  std::vector<std::uint64_t> encoded;
  std::uint64_t values = 0;
  for (int i = 0; i < fragments_.count(); ++i) {
    const TensorRange range = fragments_.tensors({i, i + 1});
    std::size_t elements = 0;
    for (std::size_t t = range.begin; t < range.end; ++t) {
      elements += static_cast<std::size_t>(exchanged_[t].layout.shape().elements());
    }
    encoded.push_back(wide::encoded_bytes(options_.codec, elements));
    values += elements * static_cast<std::size_t>(1 + kept());
  }
  return {leader_->meter, job_.cluster, std::move(encoded), values * sizeof(float)};
}

std::uint64_t Rounds::job_hash() const {
  std::string all =
      fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", job_.agreement,
                  static_cast<int>(options_.synchronisation), options_.inner_steps,
                  options_.fragments, options_.lanes, wide::name_of(options_.codec),
                  options_.outer.lr, options_.outer.momentum, plan_.steps, plan_.last_step,
                  plan_.context, static_cast<int>(plan_.schedule.kind), plan_.schedule.lr,
                  plan_.schedule.min_lr, plan_.schedule.warmup_steps, plan_.schedule.decay_steps);
  const AdamW& adamw = optimizer_.config();
  all += fmt::format(" {} {} {} {} {}", adamw.beta1, adamw.beta2, adamw.eps, adamw.weight_decay,
                     adamw.clip_norm);
  for (const LogicalTensor& tensor : parameters_) {
    all += fmt::format(" {}", tensor.name);
    for (int axis = 0; axis < tensor.layout.shape().rank(); ++axis) {
      all += fmt::format(" {}", tensor.layout.shape()[axis]);
    }
  }
  return XXH3_64bits(all.data(), all.size());
}

std::optional<Turn> Rounds::next() {
  invariant(has_begun_, "rounds begin before their first turn: begin(plan)");
  invariant(!in_turn_, "a turn ends before the next one: trained(tokens)");
  if (end_) return std::nullopt;
  const auto begin = Clock::now();
  std::optional<Turn> turn;
  while (!turn && !end_) {
    if (lane_) lane_->links->tick();
    ClusterStatus status = gather_status(grid_.world(), own_status());
    traffic_ = status.traffic;
    if (status.exchange.stage == LaneExchange::Stage::done && !result_hash_) prepare(status);
    Order order;
    if (leader_) {
      leader_->meter.update(status.traffic);
      order = leader_->conductor->decide(status, result_hash_);
      order.state_goes_to = leader_->conductor->state_goes_to();
    }
    share(grid_.world(), order);
    if (lane_) lane_->links->serve_to(std::move(order.state_goes_to));
    turn = carry_out(order);
  }
  seconds_waited_ += std::chrono::duration<double>(Clock::now() - begin).count();
  in_turn_ = turn.has_value();
  return turn;
}

RankStatus Rounds::own_status() const {
  RankStatus status;
  status.leaves = job_.leaves && job_.leaves();
  if (lane_ == nullptr) return status;
  status.has_lane = true;
  status.exchange = lane_->exchange.poll();
  status.fetch = lane_->links->fetch_stage();
  status.links = lane_->links->up();
  status.replaced = lane_->links->replaced();
  status.traffic = lane_->links->traffic();
  status.bandwidth_kbit = lane_->exchange.bandwidth_kbit();
  if (status.exchange.stage == LaneExchange::Stage::done) {
    status.mean_squares = lane_->exchange.mean_squares();
  }
  return status;
}

void Rounds::trained(std::uint64_t tokens) {
  invariant(std::exchange(in_turn_, false), "a turn is trained once");
  has_trained_ = true;
  if (leader_) leader_->conductor->trained(tokens);
}

std::uint64_t Rounds::combined_hash(std::uint64_t own) const {
  std::vector<std::uint64_t> all(static_cast<std::size_t>(grid_.world().size()), own);
  if (all.size() > 1) {
    const std::vector<std::size_t> counts(all.size(), sizeof own);
    grid_.world()
        .all_gather({&own, sizeof own, DataType::u8},
                    {all.data(), sizeof own * all.size(), DataType::u8}, counts)
        .wait();
  }
  // In the lanes' order, whatever rank carries them.
  std::vector<std::uint64_t> of_lanes;
  for (int lane = 0; lane < lanes_.layout().lanes(); ++lane) {
    of_lanes.push_back(all[static_cast<std::size_t>(lanes_.layout().rank_of(lane))]);
  }
  return XXH3_64bits(of_lanes.data(), of_lanes.size() * sizeof own);
}

const EgressMeter* Rounds::egress() const {
  return leader_ && job_.egress.has_price() ? &leader_->meter : nullptr;
}

void Rounds::log(const std::string& line) const {
  if (job_.on_log) job_.on_log(line);
}

}  // namespace train

#include "tests/wide/service/test_cluster.hpp"

#include <utility>

#include "tests/wide/stream/pair.hpp"

namespace train::wide::test {
namespace {

std::uint64_t new_incarnation() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

MemberClientOptions client_options(const TestClusterOptions& options, const Identity& self) {
  MemberClientOptions client;
  client.member.job = 7;
  client.member.rounds_total = options.rounds_total;
  client.member.self = self;
  client.member.offer = {{"host:1"}, 1};
  client.member.lease_samples = options.batch * static_cast<std::uint64_t>(options.steps);
  client.member.heartbeat = options.heartbeat;
  client.state.hash = DataPlane::initial;
  client.coordinator = {at_port(options.coordinator_port)};
  client.hang_min = options.hang_min;
  return client;
}

}  // namespace

TestCluster::TestCluster(DataPlane& plane, TestClusterOptions options)
    : plane_(plane),
      options_(std::move(options)),
      self_{options_.name, new_incarnation()},
      client_(client_options(options_, self_)) {
  NodeOptions node;
  if (options_.certificates != nullptr) node.tls = options_.certificates->of(self_.name.c_str());
  node.plaintext = options_.certificates == nullptr;
  node.name = self_.name;
  node.threads = 1;
  node.events.on_up = [this](const PeerName& peer) {
    if (MemberClient::concerns(peer)) client_.on_up();
  };
  node.events.on_down = [this](const PeerName& peer, const std::string& reason) {
    if (MemberClient::concerns(peer)) client_.on_down(reason);
  };
  node.events.on_message = [this](const PeerName& peer, std::vector<std::byte> message) {
    if (MemberClient::concerns(peer)) client_.on_message(std::move(message));
  };
  node_ = std::make_unique<Node>(std::move(node));
  plane_.born(self_);
  plane_.holds(self_.name, {}, parameters_);
  client_.start(*node_);
  thread_ = std::thread([this] { run(); });
}

TestCluster::~TestCluster() {
  quit_ = true;
  thread_.join();
  plane_.gone(self_);
  client_.stop();
}

TestCluster::End TestCluster::wait_end(Deadline deadline) const {
  while (end_ == End::none && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return end_;
}

void TestCluster::run() {
  while (!quit_) {
    if (hangs_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      continue;
    }
    tell_links();
    if (auto order = client_.next(Clock::now() + std::chrono::milliseconds(2))) {
      std::visit([this](const auto& each) { on(each); }, *order);
    }
    if (running_) exchange();
    if (fetching_) fetch();
    if (training_ && Clock::now() >= next_step_) train();
  }
}

void TestCluster::tell_links() {
  std::vector<std::string> names = plane_.others_alive(self_.name);
  if (names == links_) return;
  links_ = std::move(names);
  std::vector<LinkInfo> up;
  for (const std::string& name : links_) up.push_back({name, 100});
  client_.links_changed(std::move(up));
}

void TestCluster::on(const BeginRound&) {
  training_ = true;
  steps_ = 0;
  next_step_ = Clock::now() + options_.step;
}

void TestCluster::on(const FinishRound&) {
  if (training_) end_round();
}

void TestCluster::on(const LeaseChanged& order) {
  exhausted_ = order.exhausted;
  next_step_ = {};
}

void TestCluster::train() {
  const RangeSet samples = client_.take(options_.batch);
  if (samples.empty()) {
    if (exhausted_) return end_round();
    next_step_ = Clock::now() + std::chrono::seconds(1);  // LeaseChanged, or an end, comes sooner
    return;
  }
  taken_.add(samples);
  next_step_ = Clock::now() + options_.step;
  if (++steps_ == options_.steps) end_round();
}

void TestCluster::end_round() {
  training_ = false;
  frozen_ = {self_, taken_.size(), std::exchange(taken_, {})};
  client_.round_finished(frozen_.tokens, static_cast<std::uint32_t>(steps_));
}

void TestCluster::on(const RunExchange& order) {
  running_ = order.start;
  // Who only listens was never asked to train.
  if (frozen_.self != self_) frozen_ = {self_, 0, {}};
  plane_.offer(order.start, self_.name, frozen_);
}

void TestCluster::exchange() {
  const DataPlane::Outcome outcome = plane_.outcome(*running_, parameters_);
  if (!outcome.result && outcome.lost.empty()) return;
  const Start start = *std::exchange(running_, std::nullopt);
  if (outcome.result) {
    results_[start.id] = *outcome.result;
    client_.exchange_done(start.id, *outcome.result);
  } else {
    plane_.offer(start, self_.name, std::nullopt);
    client_.exchange_failed(start.id, outcome.lost == self_.name ? "" : outcome.lost);
  }
}

void TestCluster::on(const StopExchange& order) {
  if (running_ && running_->id == order.id) {
    plane_.offer(*running_, self_.name, std::nullopt);
    running_.reset();
  }
  results_.erase(order.id);
}

void TestCluster::on(const ApplyExchange& order) {
  const auto result = results_.find(order.state.id);
  if (result == results_.end()) {
    return plane_.wrong(self_.name + " is to apply what it does not have");
  }
  plane_.applied(order.state.id, self_.name, parameters_, result->second);
  parameters_ = result->second;
  results_.clear();
  frozen_ = {};
  plane_.holds(self_.name, order.state.id, parameters_);
  client_.applied(parameters_);
}

void TestCluster::on(const Discard&) {
  training_ = exhausted_ = false;
  taken_ = {};
  frozen_ = {};
}

void TestCluster::on(const FetchState& order) {
  fetching_ = order.fetch;
  fetched_at_ = Clock::now() + options_.fetch;
}

void TestCluster::on(const StopFetch&) {
  fetching_.reset();
}

void TestCluster::fetch() {
  if (Clock::now() < fetched_at_) return;
  const Fetch order = *std::exchange(fetching_, std::nullopt);
  const auto fetched = plane_.fetch(order);
  if (!fetched) return client_.fetch_failed(order.state.id);
  ++fetches_;
  parameters_ = *fetched;
  plane_.holds(self_.name, order.state.id, parameters_);
  client_.fetched(order.state.id, parameters_);
}

void TestCluster::on(const JobFinished&) {
  end_ = End::finished;
}

void TestCluster::on(const Stop& order) {
  if (end_ == End::finished) return;
  end_ = order.refused ? End::refused : order.finished ? End::too_late : End::released;
  if (order.refused) plane_.wrong(self_.name + " is refused: " + order.reason);
}

}  // namespace train::wide::test

#include "libtrain/rounds/lane_links.hpp"

#include <algorithm>
#include <random>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/wide/protocol/archive.hpp"
#include "collectives/wide/service/member_client.hpp"
#include "collectives/wide/stream/local_address.hpp"

namespace train {
namespace {

using std::chrono::milliseconds;

// What lanes say to each other beside transfers: a kind, then its fields.
enum class Kind : std::uint8_t { ping = 1, pong = 2, fetch = 3, refuse_fetch = 4 };

constexpr milliseconds ping_gap{5'000};
// Before both ends of a link dial: an address need not be one that can be reached.
constexpr milliseconds second_dial_after{5'000};
// Of a whole state, whatever its size.
constexpr std::chrono::hours fetch_max{24};

struct LaneMessage {
  std::uint8_t kind = 0;
  std::uint64_t number = 0;  // a time in µs, or the first transfer of a state
  wide::ExchangeId id;       // of fetch
  std::string text;          // why not, of refuse_fetch
};
template <typename Archive>
void fields(Archive& archive, LaneMessage& message) {
  archive(message.kind, message.number, message.id);
  if (static_cast<Kind>(message.kind) == Kind::refuse_fetch) archive(message.text);
}

wide::Bytes bytes_of(Kind kind, std::uint64_t number, const wide::ExchangeId& id = {},
                     const std::string& text = {}) {
  wide::Writer writer;
  LaneMessage message{static_cast<std::uint8_t>(kind), number, id, text};
  fields(writer, message);
  return writer.bytes;
}

std::uint64_t microseconds() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
          .count());
}

WideTraffic::Bytes traffic_of(const wide::Link& link) {
  const wide::LinkTraffic traffic = link.traffic();
  return {.sent = traffic.wire_sent, .received = traffic.wire_received};
}

// Transfers of states have ids apart from those of exchanges, and from those of earlier processes.
std::uint64_t first_transfer() {
  std::random_device device;
  return std::uint64_t{1} << 63 | std::uint64_t{device()} << 24;
}

}  // namespace

LaneLinks::LaneLinks(LaneLinksOptions options, ForeignEvents foreign)
    : options_(std::move(options)), foreign_(std::move(foreign)), next_transfer_(first_transfer()) {
  wide::NodeOptions node;
  if (options_.certificates) {
    node.tls = wide::TlsFiles::in(*options_.certificates);
  } else {
    node.plaintext = true;
  }
  node.name = options_.cluster;
  node.lane = options_.lane;
  node.events.on_log = options_.on_log;
  node.events.on_replaced = [this](const wide::PeerName&, const std::string& reason) {
    const std::lock_guard lock(mutex_);
    replaced_ = reason;
  };
  node.events.on_up = [this](const wide::PeerName& peer) {
    if (!wide::MemberClient::concerns(peer)) return on_up(peer, true);
    if (foreign_.on_up) foreign_.on_up(peer);
  };
  node.events.on_down = [this](const wide::PeerName& peer, const std::string& reason) {
    if (!wide::MemberClient::concerns(peer)) return on_up(peer, false);
    if (foreign_.on_down) foreign_.on_down(peer, reason);
  };
  node.events.on_message = [this](const wide::PeerName& peer, std::vector<std::byte> bytes) {
    if (!wide::MemberClient::concerns(peer)) return on_message(peer, std::move(bytes));
    if (foreign_.on_message) foreign_.on_message(peer, std::move(bytes));
  };
  node_ = std::make_unique<wide::Node>(std::move(node));
  if (options_.listen.empty()) return;
  const std::uint16_t port = node_->listen(options_.listen);
  address_ =
      !options_.advertise.empty()
          ? options_.advertise
          : fmt::format("{}:{}", wide::reachable_host(options_.listen, options_.towards), port);
}

LaneLinks::~LaneLinks() {
  stop_fetch();
  node_.reset();
}

void LaneLinks::on_up(const wide::PeerName& peer, bool up) {
  const std::lock_guard lock(mutex_);
  const auto other = others_.find(peer.cluster);
  if (other == others_.end() || peer.lane != options_.lane) return;
  other->second.up = up;
  other->second.ping_at = Clock::now();
}

void LaneLinks::use(const std::vector<wide::Directory::Peer>& others) {
  const std::lock_guard lock(mutex_);
  for (auto at = others_.begin(); at != others_.end();) {
    const bool stays =
        std::ranges::any_of(others, [&](const auto& peer) { return peer.self.name == at->first; });
    if (!stays && at->second.link) {
      before_.with[at->first] += traffic_of(*at->second.link);
      at->second.link->close("it is no cluster of the job any more");
    }
    at = stays ? std::next(at) : others_.erase(at);
  }
  for (const wide::Directory::Peer& peer : others) {
    if (peer.self.name == options_.cluster) continue;
    Other& other = others_[peer.self.name];
    const bool same = other.link && other.peer.self == peer.self && other.peer.offer == peer.offer;
    other.peer = peer;
    if (!same) connect(other, false);
  }
}

// What another cluster says of itself is no reason for this one to end.
bool LaneLinks::is_reachable(const wide::Directory::Peer& peer) const {
  if (peer.offer.addresses.size() <= options_.lane) return false;
  try {
    wide::require_address(peer.offer.addresses[options_.lane]);
    return true;
  } catch (const Error& error) {
    if (options_.on_log) {
      options_.on_log(
          fmt::format("cluster {} cannot be dialled: {}", peer.self.name, error.what()));
    }
    return false;
  }
}

void LaneLinks::connect(Other& other, bool may_dial) {
  const auto& addresses = other.peer.offer.addresses;
  const bool reachable = is_reachable(other.peer);
  const bool dials =
      reachable && (address_.empty() || other.peer.self.name < options_.cluster || may_dial);
  wide::LinkOptions options;
  options.streams = options_.streams;
  if (dials) options.addresses = {addresses[options_.lane]};
  other.dialled = dials || !reachable;
  wide::Link link = node_->link({other.peer.self.name, options_.lane}, options);
  if (other.link && link != *other.link) {
    before_.with[other.peer.self.name] += traffic_of(*other.link);
  }
  other.link = std::move(link);
  if (other.link->streams() > 0) other.up = true;
}

void LaneLinks::tick() {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  forget_ended();
  for (auto& [name, other] : others_) {
    if (other.up) {
      other.down_since.reset();
      if (now < other.ping_at) continue;
      other.ping_at = now + ping_gap;
      post(other, bytes_of(Kind::ping, microseconds()));
    } else {
      if (!other.down_since) other.down_since = now;
      if (!other.dialled && now - *other.down_since > second_dial_after) connect(other, true);
    }
  }
}

void LaneLinks::post(Other& other, const wide::Bytes& message) {
  try {
    other.link->post(message);
  } catch (const Error&) {
    // The link is closed, or nobody listens: that shows elsewhere.
  }
}

std::vector<wide::LinkInfo> LaneLinks::up() const {
  const std::lock_guard lock(mutex_);
  std::vector<wide::LinkInfo> links;
  for (const auto& [name, other] : others_) {
    if (other.up) links.push_back({name, other.rtt_us});
  }
  return links;
}

std::string LaneLinks::replaced() const {
  const std::lock_guard lock(mutex_);
  return replaced_;
}

std::map<std::string, wide::Link> LaneLinks::links() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, wide::Link> links;
  for (const auto& [name, other] : others_) {
    if (other.link) links.emplace(name, *other.link);
  }
  return links;
}

void LaneLinks::on_message(const wide::PeerName& peer, std::vector<std::byte> bytes) {
  LaneMessage message;
  wide::Reader reader(bytes);
  fields(reader, message);
  if (!reader.complete() || peer.lane != options_.lane) return;
  const std::lock_guard lock(mutex_);
  if (static_cast<Kind>(message.kind) == Kind::fetch) {
    return answer_fetch(peer, message.id, message.number);
  }
  const auto other = others_.find(peer.cluster);
  if (other == others_.end() || !other->second.link) return;
  switch (static_cast<Kind>(message.kind)) {
    case Kind::ping:
      return post(other->second, bytes_of(Kind::pong, message.number));
    case Kind::pong:
      other->second.rtt_us = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(microseconds() - message.number, UINT32_MAX));
      return;
    case Kind::fetch:
      return;
    case Kind::refuse_fetch:
      if (!fetching_ || fetching_->first_transfer != message.number) return;
      fetching_->failed = true;
      return on_refused(peer.cluster, message.text);
  }
}

// A newcomer may ask while this cluster is in the middle of a step, and has not heard of it yet.
void LaneLinks::answer_fetch(const wide::PeerName& peer, const wide::ExchangeId& id,
                             std::uint64_t transfer) {
  const auto other = others_.find(peer.cluster);
  const bool known = other != others_.end() && other->second.link;
  try {
    wide::Link link = known ? *other->second.link : node_->link(peer);
    const auto refuse = [&](const std::string& why) {
      link.post(bytes_of(Kind::refuse_fetch, transfer, {}, why));
    };
    if (served_ == nullptr || served_->id != id) return refuse("it has another state by now");
    if (!serves(peer.cluster)) {
      return refuse(
          "its egress budget (--egress-budget) is too small for it, or not looked at yet");
    }
    for (const auto& fragment : served_->fragments) {
      const auto bytes = std::as_bytes(std::span(fragment->values()));
      serving_.push_back({peer.cluster, link.send(transfer++, bytes, Clock::now() + fetch_max),
                          served_, bytes.size()});
    }
  } catch (const Error&) {
    // The link is closed: the newcomer notices.
  }
}

bool LaneLinks::serves(const std::string& cluster) const {
  return !served_to_ || std::ranges::find(*served_to_, cluster) != served_to_->end();
}

// Asked again and again, a source says the same; and each lane of it.
void LaneLinks::on_refused(const std::string& cluster, const std::string& why) {
  std::string refusal = fmt::format("cluster {} does not send its state: {}", cluster, why);
  if (options_.lane != 0 || refusal == refusal_) return;
  refusal_ = std::move(refusal);
  if (options_.on_log) options_.on_log(refusal_);
}

void LaneLinks::serve(OuterStateVersion state) {
  const std::lock_guard lock(mutex_);
  served_ = std::move(state);
}

void LaneLinks::serve_to(std::optional<std::vector<std::string>> clusters) {
  const std::lock_guard lock(mutex_);
  served_to_ = std::move(clusters);
}

void LaneLinks::forget_ended() {
  std::erase_if(serving_, [](Serving& serving) {
    try {
      return serving.transfer.done();
    } catch (const Error&) {
      return true;
    }
  });
}

void LaneLinks::fetch(const std::string& source, const wide::ExchangeId& id,
                      const std::vector<std::size_t>& sizes) {
  stop_fetch();
  const std::lock_guard lock(mutex_);
  fetching_.emplace();
  fetching_->id = id;
  fetching_->first_transfer = next_transfer_;
  next_transfer_ += sizes.size();
  const auto other = others_.find(source);
  if (other == others_.end() || !other->second.link) {
    fetching_->failed = true;
    return;
  }
  fetching_->link = other->second.link;
  fetching_->alive_at = fetching_->moved_at = Clock::now();
  try {
    receive(*fetching_, sizes);
    other->second.link->post(bytes_of(Kind::fetch, fetching_->first_transfer, id));
  } catch (const Error&) {
    fetching_->failed = true;
  }
}

void LaneLinks::receive(Fetching& fetching, const std::vector<std::size_t>& sizes) {
  std::uint64_t transfer = fetching.first_transfer;
  for (const std::size_t size : sizes) fetching.fragments.emplace_back(size, options_.memory);
  for (LaneValues& fragment : fetching.fragments) {
    fetching.transfers.push_back(fetching.link->receive(
        transfer++, std::as_writable_bytes(std::span(fragment)), Clock::now() + fetch_max));
  }
}

LaneLinks::FetchStage LaneLinks::fetch_stage() {
  const std::lock_guard lock(mutex_);
  if (!fetching_) return FetchStage::none;
  if (fetching_->failed) return FetchStage::failed;
  try {
    if (std::ranges::all_of(fetching_->transfers, [](auto& one) { return one.done(); })) {
      return FetchStage::done;
    }
  } catch (const Error&) {
    return FetchStage::failed;
  }
  watch(*fetching_);
  return fetching_->failed ? FetchStage::failed : FetchStage::running;
}

// Another cluster may have the state, too: a source that is gone or stuck is not waited for until
// the transfer's own deadline.
void LaneLinks::watch(Fetching& fetching) const {
  const auto now = Clock::now();
  if (fetching.link->streams() > 0) fetching.alive_at = now;
  std::size_t bytes = 0;
  for (const wide::Transfer& transfer : fetching.transfers) bytes += transfer.progress();
  if (bytes != fetching.bytes) {
    fetching.bytes = bytes;
    fetching.moved_at = now;
  }
  fetching.failed = now - fetching.alive_at >= options_.link_down_max ||
                    now - fetching.moved_at >= options_.fetch_stall_max;
}

OuterStateVersion LaneLinks::take_fetched() {
  std::optional<Fetching> fetched;
  {
    const std::lock_guard lock(mutex_);
    fetched.swap(fetching_);
  }
  auto state = std::make_shared<OuterState>();
  state->id = fetched->id;
  for (LaneValues& fragment : fetched->fragments) {
    state->fragments.push_back(std::make_shared<OuterFragment>(std::move(fragment)));
  }
  return state;
}

void LaneLinks::stop_fetch() {
  std::optional<Fetching> stopped;
  {
    const std::lock_guard lock(mutex_);
    stopped.swap(fetching_);
  }
  if (!stopped) return;
  for (wide::Transfer& transfer : stopped->transfers) transfer.cancel();
}

WideTraffic LaneLinks::traffic() const {
  const std::lock_guard lock(mutex_);
  WideTraffic all = before_;
  for (const auto& [name, other] : others_) {
    if (other.link) all.with[name] += traffic_of(*other.link);
  }
  for (const Serving& serving : serving_) {
    all.with[serving.cluster].promised += serving.bytes - serving.transfer.progress();
  }
  return all;
}

}  // namespace train

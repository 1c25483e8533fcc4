#include "collectives/wide/service/member_client.hpp"

#include <utility>

#include "collectives/error.hpp"
#include "collectives/wide/service/member_client_impl.hpp"

namespace train::wide {
namespace {

/// Greater than that of any process of this cluster before, if clocks are about right; all that
/// matters is that it is another one.
std::uint64_t first_number() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

}  // namespace

MemberClient::MemberClient(MemberClientOptions options) {
  if (options.coordinator.empty()) {
    throw Error("cluster " + options.member.self.name + " has no address of its coordinator");
  }
  impl_ = std::make_unique<Impl>(std::move(options), first_number());
}

MemberClient::~MemberClient() {
  stop();
}

bool MemberClient::concerns(const PeerName& peer) {
  return peer == coordinator_name();
}

void MemberClient::on_up() {
  impl_->locked([&] { impl_->link_up(); });
}

void MemberClient::on_down(const std::string& reason) {
  impl_->locked([&] { impl_->link_down(reason); });
}

void MemberClient::on_message(std::vector<std::byte> message) {
  impl_->locked([&] { impl_->arrived(message); });
}

void MemberClient::start(Node& node) {
  impl_->start(node);
}

void MemberClient::stop() {
  impl_->stop();
}

std::optional<MemberOrder> MemberClient::next(Deadline deadline) {
  return impl_->next(deadline);
}

MemberClient::Roster MemberClient::roster() {
  return impl_->locked([&] {
    impl_->loop_called();
    return impl_->roster;
  });
}

void MemberClient::links_changed(std::vector<LinkInfo> up) {
  impl_->locked([&] { impl_->carry_out(impl_->member.links_changed(std::move(up))); });
}

RangeSet MemberClient::take(std::uint64_t count) {
  return impl_->locked([&] {
    impl_->loop_called();
    if (impl_->orders.voids_training() || impl_->ended) return RangeSet();
    Member::Taken taken = impl_->member.take(count);
    impl_->carry_out(std::move(taken.actions));
    return taken.samples;
  });
}

void MemberClient::bandwidth_measured(std::uint64_t kbit) {
  impl_->locked([&] { impl_->member.bandwidth_measured(kbit); });
}

void MemberClient::round_finished(std::uint64_t tokens, std::uint32_t inner_steps) {
  impl_->locked([&] {
    if (impl_->orders.voids_training() || impl_->ended) return;
    impl_->orders.round_finished();
    impl_->carry_out(impl_->member.round_finished(tokens, inner_steps));
  });
}

void MemberClient::exchange_done(const ExchangeId& id, std::uint64_t hash) {
  impl_->locked([&] { impl_->carry_out(impl_->member.exchange_done(id, hash)); });
}

void MemberClient::exchange_failed(const ExchangeId& id, const std::string& peer) {
  impl_->locked([&] { impl_->carry_out(impl_->member.exchange_failed(id, peer)); });
}

void MemberClient::applied(std::uint64_t hash) {
  impl_->locked([&] { impl_->carry_out(impl_->member.applied(hash)); });
}

void MemberClient::fetched(const ExchangeId& id, std::uint64_t hash) {
  impl_->locked([&] {
    if (!impl_->orders.voids_fetch()) impl_->carry_out(impl_->member.fetched(id, hash));
  });
}

void MemberClient::fetch_failed(const ExchangeId& id) {
  impl_->locked([&] {
    if (!impl_->orders.voids_fetch()) impl_->carry_out(impl_->member.fetch_failed(id));
  });
}

void MemberClient::leave(std::uint64_t notice_ms) {
  impl_->locked([&] { impl_->carry_out(impl_->member.leave(notice_ms)); });
}

StateInfo MemberClient::committed() const {
  return impl_->locked([&] { return impl_->member.committed(); });
}

bool MemberClient::in_epoch() const {
  return impl_->locked([&] { return impl_->member.in_epoch(); });
}

bool MemberClient::connected() const {
  return impl_->locked([&] { return impl_->heard; });
}

std::optional<Clock::time_point> MemberClient::disconnected_since() const {
  return impl_->locked([&] { return impl_->silent_since; });
}

}  // namespace train::wide

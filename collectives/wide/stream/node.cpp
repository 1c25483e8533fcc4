#include "collectives/wide/stream/node.hpp"

#include <map>
#include <mutex>
#include <optional>

#include <asio/steady_timer.hpp>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/link_impl.hpp"
#include "collectives/wide/stream/io/listener.hpp"
#include "collectives/wide/stream/io/refusals.hpp"
#include "collectives/wide/stream/io/services.hpp"

namespace train::wide {

using namespace detail;
using std::chrono::milliseconds;

class Node::Impl {
 public:
  explicit Impl(NodeOptions options)
      : services_(std::move(options)), timer_(services_.loops.home()) {
    tick();
    if (services_.tls) {
      watch_.emplace(*services_.tls_impl()->trust, [this](const std::string& line) {
        services_.log(line);
        for (const auto& link : open_links()) link->check_trust();
      });
    }
  }
  ~Impl();

  const PeerName& name() const { return services_.self; }
  std::uint16_t listen(const std::string& address);
  std::shared_ptr<Link::Impl> link(const PeerName& peer);

 private:
  void tick();
  std::vector<std::shared_ptr<Link::Impl>> open_links();
  std::variant<Hello, Denial> judge(const Hello& peer);
  void refused(const std::string& address, const std::string& why);

  Services services_;
  asio::steady_timer timer_;
  std::mutex mutex_;
  bool ending_ = false;
  std::map<PeerName, std::shared_ptr<Link::Impl>> links_;
  std::vector<std::weak_ptr<Link::Impl>> replaced_;  // closed, perhaps still saying goodbye
  std::vector<std::shared_ptr<Listener>> listeners_;
  Refusals refusals_;
  std::optional<TrustWatch> watch_;
};

Node::Impl::~Impl() {
  watch_.reset();
  const auto links = open_links();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  for (const auto& link : links) link->close(services_.self.to_string() + " ends");
  // Goodbyes are a courtesy: a peer that does not take its own is not waited for.
  const auto deadline = Clock::now() + milliseconds(300);
  for (const auto& link : links) static_cast<void>(link->wait_closed(deadline));
  services_.loops.stop();
  for (const auto& [peer, link] : links_) link->drop();
  for (const auto& old : replaced_) {
    if (const auto link = old.lock()) link->drop();
  }
}

std::vector<std::shared_ptr<Link::Impl>> Node::Impl::open_links() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Link::Impl>> links;
  for (const auto& [peer, link] : links_) links.push_back(link);
  return links;
}

void Node::Impl::tick() {
  const auto now = Clock::now();
  for (const auto& link : open_links()) link->tick(now);
  timer_.expires_after(milliseconds(50));
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) tick();
  });
}

void Node::Impl::refused(const std::string& address, const std::string& why) {
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    line = refusals_.line(address, why, Clock::now());
  }
  if (!line.empty()) services_.log(line);
}

std::shared_ptr<Link::Impl> Node::Impl::link(const PeerName& peer) {
  const std::lock_guard lock(mutex_);
  auto& link = links_[peer];
  if (link && link->closed()) {
    std::erase_if(replaced_, [](const auto& old) { return old.expired(); });
    replaced_.push_back(link);
    link.reset();
  }
  if (!link) link = std::make_shared<Link::Impl>(services_, peer);
  return link;
}

std::variant<Hello, Denial> Node::Impl::judge(const Hello& peer) {
  constexpr std::size_t links_max = 4096;
  if (peer.to != services_.self) {
    return Denial{peer.from.to_string() + " looks for " + peer.to.to_string() + ", but this is " +
                  services_.self.to_string()};
  }
  {
    const std::lock_guard lock(mutex_);
    if (ending_) return Denial{services_.self.to_string() + " ends"};
    if (links_.size() >= links_max && !links_.contains(peer.from)) return Denial{"too many peers"};
  }
  const auto answer = link(peer.from)->answer_hello(peer.session);
  if (const auto* denial = std::get_if<Denial>(&answer)) return *denial;
  return Hello{std::get<std::uint64_t>(answer), peer.stream, services_.self, peer.from};
}

std::uint16_t Node::Impl::listen(const std::string& address) {
  ListenerOptions options;
  options.tls = services_.tls_impl();
  options.handshake_max = services_.options.handshake_max;
  options.pending_max = services_.options.pending_handshakes_max;
  options.prepare = [this](int socket) { services_.prepare(socket); };
  options.judge = [this](const Hello& peer) { return judge(peer); };
  options.refused = [this](const auto& from, const auto& why) { refused(from, why); };
  options.introduced = [this](asio::io_context& loop, Introduced introduced,
                              const std::string& from) {
    const auto peer = introduced.peer.from;
    const auto why = link(peer)->attach(loop, std::move(introduced), from, false);
    if (!why.empty()) refused(from, why);
  };
  const auto listener = std::make_shared<Listener>(services_.loops, address, std::move(options));
  listener->start();
  const std::lock_guard lock(mutex_);
  listeners_.push_back(listener);
  return listener->port();
}

Node::Node(NodeOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Node::~Node() = default;
const PeerName& Node::name() const {
  return impl_->name();
}
std::uint16_t Node::listen(const std::string& address) {
  return impl_->listen(address);
}

Link Node::link(const PeerName& peer, LinkOptions options) {
  if (!valid_name(peer.cluster) || peer == name()) {
    throw Error(name().to_string() + " cannot have a link to \"" + peer.to_string() + "\"");
  }
  const auto link = impl_->link(peer);
  link->use(std::move(options));
  return Link(link);
}

}  // namespace train::wide

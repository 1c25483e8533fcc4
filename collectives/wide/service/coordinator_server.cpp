#include "collectives/wide/service/coordinator_server.hpp"

#include <utility>

#include "collectives/wide/service/coordinator_thread.hpp"

namespace train::wide {

class CoordinatorServer::Impl {
 public:
  explicit Impl(CoordinatorServerOptions options)
      : thread(options), node(node_options(std::move(options.node))) {
    for (const std::string& address : options.listen) ports.push_back(node.listen(address));
    thread.start(node);
  }
  // The thread uses the node, whose events use the thread's queue.
  ~Impl() { thread.stop(); }

  NodeOptions node_options(NodeOptions given) {
    given.name = "coordinator";
    given.lane = 0;
    given.sockets.is_thin = true;
    given.events = thread.node_events();
    return given;
  }

  CoordinatorThread thread;
  Node node;
  std::vector<std::uint16_t> ports;
};

CoordinatorServer::CoordinatorServer(CoordinatorServerOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}

CoordinatorServer::~CoordinatorServer() = default;

const std::vector<std::uint16_t>& CoordinatorServer::ports() const {
  return impl_->ports;
}

bool CoordinatorServer::wait(Deadline deadline) {
  return impl_->thread.wait(deadline);
}

}  // namespace train::wide

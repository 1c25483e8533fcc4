#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "collectives/work.hpp"

namespace train::wide {

/// One lane's way to the same lane of an epoch's other clusters.
class Peers {
 public:
  virtual ~Peers() = default;
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  enum class Priority { high, low };

  /// Clusters in the epoch, in the order that all of them agree on, and this one's place.
  virtual int size() const = 0;
  virtual int self() const = 0;

  /// Bulk data. The bytes must live until the work is done; what is sent to a cluster is received
  /// there under the same id and of the same size, in any order. The work throws Error when the
  /// cluster cannot be reached by the deadline, or when the exchange was called off. What has high
  /// priority may overtake the rest.
  virtual Work send(int cluster, std::uint64_t id, std::span<const std::byte> bytes,
                    Priority priority) = 0;
  virtual Work receive(int cluster, std::uint64_t id, std::span<std::byte> bytes) = 0;

  /// Gives up what is under way, here and at the other ends, and everything that comes later: all
  /// works end. Safe while another thread exchanges.
  virtual void stop(const std::string& reason) = 0;

 protected:
  Peers() = default;
};

}  // namespace train::wide

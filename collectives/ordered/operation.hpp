#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collectives/types.hpp"
#include "collectives/work.hpp"

namespace train::detail {

enum class Kind : std::uint8_t {
  all_reduce,
  reduce_scatter,
  all_gather,
  broadcast,
  all_to_all,
  barrier,
  split
};

/// "all_reduce", …
const char* name_of(Kind kind);

/// Where the elements of an operation lie. A rank may have none to send or receive.
enum class Place : std::uint8_t { host, device, nowhere };

/// What of an operation goes on after Transport::move() has returned: work of a device. Its
/// wait_until() is what the operation's Work does once it is launched.
class Flight : public Work::State {
 public:
  /// What a flight was, once it has ended well. `began` is when the device began it.
  struct Landing {
    Clock::time_point began, ended;
    std::uint64_t bytes_sent = 0;
  };
  /// Called once when it ends well, before anyone whose wait on the host ends with it goes on. Set
  /// before move(); dropped with what it holds when the flight ends, well or not.
  std::function<void(const Landing&)> on_landing;
  /// Whether a wait without a deadline, too, returns after the landing. Set before move().
  bool waits_on_host = false;
};

/// One collective call as this rank made it. Arguments were checked; counts were copied.
struct Operation {
  Kind kind = Kind::barrier;
  ReduceOp op = ReduceOp::sum;
  int root = 0;
  /// Counts the group's collectives from 0.
  std::uint64_t sequence = 0;
  Clock::time_point called = {};
  Deadline deadline = {};
  /// broadcast reads at the root and writes elsewhere: both name its buffer.
  ConstBuffer send = {};
  Buffer receive = {};
  /// Blocks of reduce_scatter and all_gather; all_to_all: what goes to each rank.
  std::vector<std::size_t> counts = {};
  /// all_to_all: what comes from each rank.
  std::vector<std::size_t> receive_counts = {};
  /// split only.
  int color = 0;
  int key = 0;
  std::string name = {};
  /// Where send and receive lie.
  Place place = Place::host;
  /// What the transport has this rank bring to the meeting, behind the call's own details.
  std::vector<std::uint64_t> attached = {};
  /// Null where the operation ends with move().
  std::shared_ptr<Flight> flight = {};
};

}  // namespace train::detail

#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "collectives/local/group.hpp"
#include "collectives/types.hpp"
#include "collectives/work.hpp"

namespace train::local {

/// Messages between the threads of a group. Nothing is buffered: whoever comes second copies from
/// the sender's memory to the receiver's.
class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  explicit Mailbox(std::shared_ptr<Group> group) : group_(std::move(group)) {}

  std::shared_ptr<Work::State> send(int rank, ConstBuffer buffer, int peer, int tag,
                                    Deadline deadline);
  std::shared_ptr<Work::State> receive(int rank, Buffer buffer, int peer, int tag,
                                       Deadline deadline);
  /// Waits for `rank`'s unmatched letters, each by its deadline, until the group fails or the
  /// other side leaves; then takes back those that are left.
  void drain(int rank);

 private:
  struct Letter;
  using Address = std::tuple<int, int, int>;  // from, to, tag
  struct Box {
    std::deque<std::shared_ptr<Letter>> sends, receives;
  };

  std::shared_ptr<Work::State> post(const std::shared_ptr<Letter>& letter);
  void deliver(Letter& send, Letter& receive);
  /// Under the lock: no letter of another will find this one any more.
  void take_back(Letter& letter);
  /// Under the lock, for an unmatched letter: ends it if it has no hope at `now`.
  void expire(Letter& letter, Clock::time_point now);

  std::shared_ptr<Group> group_;
  std::map<Address, Box> boxes_;
};

}  // namespace train::local

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "collectives/local/group.hpp"
#include "collectives/local/mailbox.hpp"

namespace train::local {

class Parts;

/// All that the ranks of one group share.
struct Room {
  Room(const std::string& name, int size);

  std::shared_ptr<Group> group;
  std::shared_ptr<Mailbox> mailbox;
  std::shared_ptr<Parts> parts;
};

/// Where the ranks that a split puts together find their new room.
class Parts {
 public:
  /// The room of the group whose first member is `first`; the first who asks makes it.
  Room get(int first, const std::string& name, int size) {
    std::lock_guard lock(mutex_);
    return rooms_.try_emplace(first, name, size).first->second;
  }
  /// Once all have got theirs.
  void clear() {
    std::lock_guard lock(mutex_);
    rooms_.clear();
  }

 private:
  std::mutex mutex_;
  std::map<int, Room> rooms_;
};

inline Room::Room(const std::string& name, int size)
    : group(std::make_shared<Group>(name, size)),
      mailbox(std::make_shared<Mailbox>(group)),
      parts(std::make_shared<Parts>()) {}

}  // namespace train::local

#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "collectives/nccl/flight.hpp"

namespace train::nccl {

/// Sees to it that every flight of a group ends: lands those that are over, and ends all when one
/// outlasts its deadline, or NCCL or another rank reports a failure. One thread, which sleeps while
/// nothing flies.
class Watch {
 public:
  /// `look` throws when the group has failed. `fail` is told why, before the flights are.
  Watch(detail::Membership who, std::function<void()> look,
        std::function<void(const detail::Fault&)> fail);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();

  /// Fails the flight and returns why where fail_all() came before.
  std::optional<detail::Fault> add(std::shared_ptr<Flight> flight);
  /// Lands what is over.
  void land();
  /// Waits until nothing flies.
  void drain();
  /// Ends what flies, and what is added from now on. Returns whether anything did fly.
  bool fail_all(const detail::Fault& fault);

 private:
  void loop();
  void look_at(const std::vector<std::shared_ptr<Flight>>& flights);

  const detail::Membership who_;
  const std::function<void()> look_;
  const std::function<void(const detail::Fault&)> fail_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Flight>> flights_;
  std::optional<detail::Fault> fault_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace train::nccl

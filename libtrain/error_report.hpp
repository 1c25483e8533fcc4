#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "collectives/communicator.hpp"

namespace train {

/// Decides who prints an error that several ranks may have met: of the ranks that met the same one,
/// the lowest; messages that differ in numbers alone count as the same. Ranks that fail agree over
/// messages of their own, each with a deadline, so that a rank which still trains, or is dead,
/// holds nobody up.
class ErrorReport {
 public:
  /// Collective over `world`.
  explicit ErrorReport(Communicator& world);

  struct Verdict {
    bool print = true;  ///< no lower rank has the same message
    bool everybody_failed = false;
  };
  /// Called once by each rank that failed; takes at most `patience`.
  Verdict agree(std::string_view message,
                std::chrono::milliseconds patience = std::chrono::milliseconds(1000));

 private:
  std::unique_ptr<Communicator> ranks_;
};

}  // namespace train

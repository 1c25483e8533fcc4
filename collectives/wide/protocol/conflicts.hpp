#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace train::wide {

/// Two clusters that cannot work together, or one with itself.
using Conflict = std::pair<std::string, std::string>;

/// Whom to leave out so that no conflict remains: time and again the one with the most conflicts,
/// of several the last by name. Only those that `droppable` allows; conflicts between others stay.
std::vector<std::string> whom_to_drop(std::vector<Conflict> conflicts,
                                      const std::function<bool(const std::string&)>& droppable);

}  // namespace train::wide

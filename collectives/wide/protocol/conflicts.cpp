#include "collectives/wide/protocol/conflicts.hpp"

#include <cstddef>
#include <map>

namespace train::wide {

std::vector<std::string> whom_to_drop(std::vector<Conflict> conflicts,
                                      const std::function<bool(const std::string&)>& droppable) {
  std::vector<std::string> dropped;
  for (;;) {
    std::map<std::string, std::size_t> count;
    for (const auto& [a, b] : conflicts) {
      if (droppable(a)) ++count[a];
      if (a != b && droppable(b)) ++count[b];
    }
    if (count.empty()) return dropped;
    auto worst = count.begin();
    for (auto it = count.begin(); it != count.end(); ++it) {
      if (it->second >= worst->second) worst = it;
    }
    dropped.push_back(worst->first);
    std::erase_if(conflicts, [&](const Conflict& conflict) {
      return conflict.first == worst->first || conflict.second == worst->first;
    });
  }
}

}  // namespace train::wide

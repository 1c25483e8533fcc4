#include "tests/wide/service/data_plane.hpp"

#include <fmt/format.h>

namespace train::wide::test {

void DataPlane::born(const Identity& self) {
  const std::lock_guard lock(mutex_);
  alive_[self.name] = self.incarnation;
}

void DataPlane::gone(const Identity& self) {
  const std::lock_guard lock(mutex_);
  if (alive_[self.name] == self.incarnation) {
    alive_.erase(self.name);
    held_.erase(self.name);
  }
}

std::vector<std::string> DataPlane::others_alive(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [other, incarnation] : alive_) {
    if (other != name) names.push_back(other);
  }
  return names;
}

void DataPlane::offer(const Start& start, const std::string& name,
                      const std::optional<sim::Input>& input) {
  const std::lock_guard lock(mutex_);
  if (input) {
    inputs_[start.id][name] = *input;
  } else {
    withdrawn_[start.id].insert(name);
  }
}

DataPlane::Outcome DataPlane::outcome(const Start& start, Parameters before) const {
  const std::lock_guard lock(mutex_);
  const auto inputs = inputs_.find(start.id);
  if (inputs != inputs_.end() && inputs->second.size() == start.participants.size()) {
    return {sim::exchange_result(before, inputs->second), {}};
  }
  for (const Start::Participant& each : start.participants) {
    const auto alive = alive_.find(each.self.name);
    const auto withdrawn = withdrawn_.find(start.id);
    const bool out = withdrawn != withdrawn_.end() && withdrawn->second.contains(each.self.name);
    if (out || alive == alive_.end() || alive->second != each.self.incarnation) {
      return {{}, each.self.name};
    }
  }
  return {};
}

void DataPlane::holds(const std::string& name, const ExchangeId& id, Parameters parameters) {
  const std::lock_guard lock(mutex_);
  held_[name] = {id, parameters};
}

std::optional<DataPlane::Parameters> DataPlane::fetch(const Fetch& fetch) const {
  const std::lock_guard lock(mutex_);
  const auto held = held_.find(fetch.source.name);
  const auto alive = alive_.find(fetch.source.name);
  if (held == held_.end() || alive == alive_.end()) return std::nullopt;
  if (alive->second != fetch.source.incarnation || held->second.first != fetch.state.id) {
    return std::nullopt;
  }
  return held->second.second;
}

void DataPlane::applied(const ExchangeId& id, const std::string& name, Parameters before,
                        Parameters after) {
  const std::lock_guard lock(mutex_);
  const auto [commit, first] = commits_.try_emplace(id, Commit{before, after});
  if (commit->second.before != before || commit->second.after != after) {
    troubles_.push_back(fmt::format("{} has other parameters after {}", name, to_string(id)));
  }
  if (!first) return;
  for (const auto& [contributor, input] : inputs_[id]) {
    if (trained_.intersects(input.used)) {
      troubles_.push_back(
          fmt::format("{} has samples of {} that were trained before", to_string(id), contributor));
    }
    trained_.add(input.used);
  }
}

void DataPlane::wrong(const std::string& what) {
  const std::lock_guard lock(mutex_);
  troubles_.push_back(what);
}

std::vector<std::string> DataPlane::troubles() const {
  const std::lock_guard lock(mutex_);
  return troubles_;
}

RangeSet DataPlane::trained() const {
  const std::lock_guard lock(mutex_);
  return trained_;
}

std::uint64_t DataPlane::rounds() const {
  const std::lock_guard lock(mutex_);
  return commits_.empty() ? 0 : commits_.rbegin()->first.round;
}

}  // namespace train::wide::test

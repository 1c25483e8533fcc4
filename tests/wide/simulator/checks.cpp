#include "tests/wide/simulator/checks.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "collectives/wide/protocol/archive.hpp"
#include "tests/wide/simulator/random.hpp"

namespace train::wide::sim {

void require(bool holds, const std::string& what) {
  if (!holds) throw Violation(what);
}

std::uint64_t exchange_result(std::uint64_t before, const std::map<std::string, Input>& inputs) {
  std::uint64_t hash = before;
  for (const auto& [name, input] : inputs) {
    hash = mix(hash, input.self.incarnation);
    hash = mix(hash, input.tokens);
    for (char c : name) hash = mix(hash, static_cast<unsigned char>(c));
    for (Range range : input.used.ranges()) hash = mix(mix(hash, range.begin), range.end);
  }
  return hash;
}

Checks::Checks(std::uint64_t initial_hash, std::uint64_t samples_total)
    : samples_total_(samples_total) {
  commits_[ExchangeId{}] = {initial_hash, initial_hash, {}};
}

void Checks::durable(const Record& record, const std::map<std::string, Holder>& living) {
  const std::string reason = refusal(state_, record);
  require(reason.empty(), "a record that cannot follow: " + reason);
  if (const auto* commit = std::get_if<Committed>(&record)) committed(*commit, living);
  if (const auto* adoption = std::get_if<Adopted>(&record)) adopted(*adoption, living);
  if (const auto* attempt = std::get_if<AttemptStarted>(&record)) {
    retries_ += attempt->id.attempt > 1 ? 1 : 0;
  }
  if (const auto* epoch = std::get_if<EpochOpened>(&record)) {
    require(!epoch->members.empty(), "an empty epoch");
    for (const EpochMember& member : state_.members) {
      require(!steady_ || std::ranges::count(epoch->members, member) == 1,
              member.self.name + " is left out although nothing is wrong with it");
    }
  }
  fold(state_, record);
}

void Checks::committed(const Committed& record, const std::map<std::string, Holder>& living) {
  require(!state_.finished(samples_total_), "a commit after the end: " + to_string(record.id));
  require(record.id.epoch == state_.epoch, "a commit of a stale epoch: " + to_string(record.id));
  const auto& inputs = inputs_[record.id];
  require(inputs.size() == state_.members.size(), "a commit that not every member took part in");
  for (const EpochMember& member : state_.members) {
    require(inputs.contains(member.self.name), "a commit without " + member.self.name);
    const auto process =
        living.find(fmt::format("{}/{}", member.self.name, member.self.incarnation));
    require(process == living.end() || process->second.results.contains(record.id),
            "a commit that " + member.self.name + " cannot apply");
  }
  for (const auto& [name, input] : inputs) {
    require(!trained_.intersects(input.used), "samples trained twice, by " + name);
    trained_.add(input.used);
  }
  const std::uint64_t before = state_.committed->hash;
  require(exchange_result(before, inputs) == record.hash, "a commit of another result");
  commits_[record.id] = {before, record.hash, trained_};
}

void Checks::adopted(const Adopted& record, const std::map<std::string, Holder>& living) {
  const auto known = commits_.find(record.state.id);
  require(known != commits_.end(), "adopted a state that nobody committed");
  require(known->second.hash == record.state.hash || damage_, "adopted a state of another hash");
  RangeSet trained({0, record.state.position.next});
  trained.remove(record.state.position.holes);
  require(trained == known->second.trained, "adopted a wrong place in the data");
  trained_ = trained;
  const std::uint64_t given_up = state_.committed ? state_.committed->hash : 0;
  known->second.hash = record.state.hash;
  if (!state_.committed) return;
  ++rollbacks_;
  if (hasty_) return;
  for (const auto& [process, holder] : living) {
    const ExchangeId& lost = state_.committed->id;
    const bool has_it = holder.committed == lost && holder.parameters == given_up;
    require(
        !has_it && !holder.results.contains(lost),
        fmt::format("the state of {} is given up although {} has it", to_string(lost), process));
  }
}

void Checks::exchange_started(const std::string& process, const ExchangeId& id,
                              std::uint64_t seen_epoch) {
  require(id.epoch >= seen_epoch, process + " runs an exchange of a stale epoch");
  auto& last = last_started_[process];
  require(id > last, process + " runs an exchange twice: " + to_string(id));
  last = id;
  const bool recorded = state_.in_flight && state_.in_flight->id >= id;
  require(recorded || state_.epoch > id.epoch || state_.attempts >= id.attempt ||
              state_.committed->id >= id,
          process + " runs an exchange that is not in the journal: " + to_string(id));
}

void Checks::input(const std::string& process, const ExchangeId& id, const Input& input) {
  const auto [entry, fresh] = frozen_.try_emplace(process, id.round, input);
  require(fresh || entry->second.first != id.round || entry->second.second == input,
          process + " retries an exchange with other inputs");
  entry->second = {id.round, input};
  inputs_[id][input.self.name] = input;
}

void Checks::applied(const std::string& process, const StateInfo& state, std::uint64_t before,
                     std::uint64_t after) {
  const auto commit = commits_.find(state.id);
  require(commit != commits_.end(),
          process + " applies what is not committed: " + to_string(state.id));
  require(commit->second.before == before, process + " applies a commit to another state");
  held(process.substr(0, process.find('/')), state.id);
  require(commit->second.hash == after, process + " has other parameters than were committed");
}

void Checks::released(const std::string& name) {
  const auto& names = holders_[state_.committed->id];
  require(names.size() > (names.contains(name) ? 1u : 0u),
          name + " is released although nobody else ever had the state");
}

void Checks::too_late(const std::string& name, const std::map<std::string, Holder>& within_reach) {
  ++too_late_;
  require(state_.finished(samples_total_), name + " is too late for a job that is not over");
  for (const auto& [process, holder] : within_reach) {
    const bool has_it =
        holder.committed == state_.committed->id && holder.parameters == state_.committed->hash;
    require(!has_it,
            name + " is told that it is too late, but could have the last state from " + process);
  }
}

void Checks::replayed(const State& state) const {
  Writer ours, theirs;
  ours(state_);
  theirs(state);
  require(ours.bytes == theirs.bytes, "the journal replays to another state");
}

void Checks::finished(const std::map<std::string, Holder>& living) const {
  const bool by_rounds =
      state_.rounds_total > 0 && state_.committed->id.round >= state_.rounds_total;
  require(by_rounds || trained_ == RangeSet({0, samples_total_}), "samples are missing in the end");
  RangeSet counted({0, state_.committed_info().position.next});
  counted.remove(state_.committed_info().position.holes);
  require(trained_ == counted, "the ledger counts other samples than were trained");
  for (const auto& [process, holder] : living) {
    require(holder.committed == state_.committed->id && holder.parameters == state_.committed->hash,
            process + " ends with another state");
  }
}

}  // namespace train::wide::sim

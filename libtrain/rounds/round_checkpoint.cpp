// The outer state in checkpoints.
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "libtrain/rounds/rounds_lane.hpp"

namespace train {
namespace {

using nlohmann::json;

json json_of(const wide::StateInfo& state) {
  json holes = json::array();
  for (const wide::Range& range : state.position.holes.ranges()) {
    holes.push_back({range.begin, range.end});
  }
  return {{"epoch", state.id.epoch},
          {"round", state.id.round},
          {"attempt", state.id.attempt},
          {"hash", fmt::format("{:016x}", state.hash)},
          {"next_sample", state.position.next},
          {"untrained", holes}};
}

wide::StateInfo state_from(const std::string& text) {
  try {
    const json from = json::parse(text);
    wide::StateInfo state;
    state.id.epoch = from.at("epoch").get<std::uint64_t>();
    state.id.round = from.at("round").get<std::uint64_t>();
    state.id.attempt = from.at("attempt").get<std::uint32_t>();
    state.hash = std::stoull(from.at("hash").get<std::string>(), nullptr, 16);
    state.position.next = from.at("next_sample").get<std::uint64_t>();
    for (const json& range : from.at("untrained")) {
      const wide::Range hole{range.at(0).get<std::uint64_t>(), range.at(1).get<std::uint64_t>()};
      if (hole.begin > hole.end || hole.end > state.position.next) {
        throw Error(fmt::format("samples {} to {} of {} cannot be untrained", hole.begin, hole.end,
                                state.position.next));
      }
      state.position.holes.add(hole);
    }
    return state;
  } catch (const std::exception& error) {
    throw Error(fmt::format("a checkpoint's state of the job cannot be read: {}", error.what()));
  }
}

}  // namespace

std::vector<LogicalTensor> Rounds::outer_tensors() const {
  Tensor values;
  if (lane_) {
    const auto& from = lane_->state->values;
    values = Tensor(grid_.device().memory(MemoryUse::optimizer_state),
                    {static_cast<std::int64_t>(from.size())}, DataType::f32);
    values.copy_from_host(std::as_bytes(std::span(from)));
  }
  std::vector<LogicalTensor> tensors;
  std::int64_t begin = 0;  // in the lane, where one array follows the other
  for (int array = 0; array <= kept(); ++array) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      LogicalTensor tensor;
      tensor.name = parameters_[i].name;
      if (array > 0) tensor.name += fmt::format(".outer{}", array);
      tensor.layout = lanes_.layout().layout(i);
      const std::int64_t size = tensor.layout.local_elements(grid_.rank());
      if (size > 0) tensor.local = values.slice(begin, {size});
      begin += size;
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

std::string Rounds::outer_state() const {
  return json_of(state_).dump();
}

std::int64_t Rounds::steps_committed() const {
  return std::min(plan_.last_step,
                  static_cast<std::int64_t>(state_.id.round) * options_.inner_steps);
}

void Rounds::resume(const std::string& outer_state, std::span<const LogicalTensor> tensors) {
  invariant(leader_ == nullptr, "a job is resumed before it begins");
  const wide::StateInfo state = state_from(outer_state);
  auto loaded = std::make_shared<OuterState>();
  loaded->id = state.id;
  for (const LogicalTensor& tensor : tensors) {
    if (!tensor.local.defined()) continue;
    const std::size_t begin = loaded->values.size();
    loaded->values.resize(begin + static_cast<std::size_t>(tensor.local.elements()));
    tensor.local.copy_to_host(std::as_writable_bytes(std::span(loaded->values).subspan(begin)));
  }
  const std::uint64_t hash = combined_hash(lane_ ? loaded->hash() : 0);
  if (hash != state.hash) {
    throw Error(fmt::format(
        "the outer state of {} in the checkpoint has hash {:016x}, not {:016x}: it was saved with "
        "another number of --lanes, or is not what it says",
        wide::to_string(state.id), hash, state.hash));
  }
  state_ = state;
  if (lane_) lane_->state = std::move(loaded);
  spread_outer();
}

}  // namespace train

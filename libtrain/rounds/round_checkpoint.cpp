// The outer state in checkpoints.
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "libtrain/rounds/rounds_lane.hpp"

namespace train {
namespace {

using nlohmann::json;

// A state, and how its rounds were made: zeros where the checkpoint, an earlier one, does not say.
struct Saved {
  wide::StateInfo state;
  std::int64_t steps = 0;  // of the schedule
  std::int64_t inner_steps = 0;
  int fragments = 0, lanes = 0;
};

json json_of(const Saved& saved) {
  const wide::StateInfo& state = saved.state;
  json holes = json::array();
  for (const wide::Range& range : state.position.holes.ranges()) {
    holes.push_back({range.begin, range.end});
  }
  return {{"epoch", state.id.epoch},
          {"round", state.id.round},
          {"attempt", state.id.attempt},
          {"hash", fmt::format("{:016x}", state.hash)},
          {"next_sample", state.position.next},
          {"untrained", holes},
          {"steps", saved.steps},
          {"inner_steps", saved.inner_steps},
          {"fragments", saved.fragments},
          {"lanes", saved.lanes}};
}

Saved saved_from(const std::string& text) {
  try {
    const json from = json::parse(text);
    Saved saved;
    wide::StateInfo& state = saved.state;
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
    if (!from.contains("steps")) return saved;
    saved.steps = from.at("steps").get<std::int64_t>();
    saved.inner_steps = from.at("inner_steps").get<std::int64_t>();
    saved.fragments = from.at("fragments").get<int>();
    saved.lanes = from.at("lanes").get<int>();
    return saved;
  } catch (const std::exception& error) {
    throw Error(fmt::format("a checkpoint's state of the job cannot be read: {}", error.what()));
  }
}

}  // namespace

std::vector<LogicalTensor> Rounds::outer_tensors() const {
  std::vector<Tensor> fragments(static_cast<std::size_t>(fragments_.count()));
  if (lane_) {
    std::ranges::transform(lane_->state->fragments, fragments.begin(), [&](const auto& fragment) {
      return Tensor::over(memory_.host(), fragment, fragment->values());
    });
  }
  return tensors_over(fragments);
}

std::vector<LogicalTensor> Rounds::outer_tensors_to_load() {
  invariant(leader_ == nullptr, "a job is resumed before it begins");
  std::vector<Tensor> fragments(static_cast<std::size_t>(fragments_.count()));
  if (lane_) {
    lane_->loading.clear();
    for (const auto& now : lane_->state->fragments) {
      const auto values = std::make_shared<LaneValues>(now->values().size(), &memory_);
      fragments[lane_->loading.size()] = Tensor::over(memory_.host(), values, *values);
      lane_->loading.push_back(values);
    }
  }
  return tensors_over(fragments);
}

// Arrays of a fragment follow each other in a lane, and tensors in an array.
std::vector<LogicalTensor> Rounds::tensors_over(std::span<const Tensor> fragments) const {
  std::vector<LogicalTensor> tensors;
  for (int i = 0; i < fragments_.count(); ++i) {
    std::int64_t begin = 0;
    for (int array = 0; array <= kept(); ++array) {
      const TensorRange range = fragments_.tensors({i, i + 1});
      for (std::size_t t = range.begin; t < range.end; ++t) {
        LogicalTensor tensor;
        tensor.name = parameters_[t].name;
        if (array > 0) tensor.name += fmt::format(".outer{}", array);
        tensor.layout = lanes_.layout().layout(t);
        const std::int64_t size = tensor.layout.local_elements(grid_.rank());
        if (size > 0) tensor.local = fragments[static_cast<std::size_t>(i)].slice(begin, {size});
        begin += size;
        tensors.push_back(std::move(tensor));
      }
    }
  }
  return tensors;
}

std::string Rounds::outer_state() const {
  return json_of(
             {state_, steps_committed(), options_.inner_steps, options_.fragments, options_.lanes})
      .dump();
}

std::int64_t Rounds::steps_committed() const {
  return calendar_.first_step(state_.id.round + 1);
}

void Rounds::resume(const std::string& outer_state) {
  invariant(leader_ == nullptr, "a job is resumed before it begins");
  const Saved saved = saved_from(outer_state);
  const std::uint64_t round = saved.state.id.round;
  // A round's number says which steps are over; the last round of a run may have been short.
  const bool fits =
      calendar_.first_step(round) < saved.steps && saved.steps <= calendar_.first_step(round + 1);
  if (saved.lanes > 0 && !fits) {
    throw Error(fmt::format(
        "the checkpoint's job has exchanged {} times in {} steps, with --inner-steps {} "
        "--fragments {}: go on with these, not with {} and {}, or begin a new job with its "
        "parameters (checkpoint_tool, --init)",
        round, saved.steps, saved.inner_steps, saved.fragments, options_.inner_steps,
        options_.fragments));
  }
  auto loaded = std::make_shared<OuterState>();
  loaded->id = saved.state.id;
  if (lane_) {
    invariant(!lane_->loading.empty(), "a state is loaded before it is resumed");
    for (const auto& values : lane_->loading) {
      loaded->fragments.push_back(std::make_shared<OuterFragment>(std::move(*values)));
    }
    lane_->loading.clear();
  }
  const std::uint64_t hash = combined_hash(lane_ ? loaded->hash() : 0);
  // Lanes and fragments that are cut otherwise hash otherwise.
  const bool same_cuts =
      saved.lanes == 0 || (saved.lanes == options_.lanes && saved.fragments == options_.fragments);
  if (same_cuts && hash != saved.state.hash) {
    throw Error(fmt::format(
        "the outer state of {} in the checkpoint has hash {:016x}, not the {:016x} that it was "
        "saved with",
        wide::to_string(saved.state.id), hash, saved.state.hash));
  }
  state_ = saved.state;
  state_.hash = hash;
  if (grid_.rank() == 0 && saved.lanes > 0 && saved.steps < steps_committed()) {
    log(
        fmt::format("the job in the checkpoint ended in the middle of a round: it goes on after "
                    "step {} of the schedule, not {}",
                    steps_committed(), saved.steps));
  }
  if (lane_) lane_->state = std::move(loaded);
  spread_outer();
}

}  // namespace train

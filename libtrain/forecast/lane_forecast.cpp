#include "libtrain/forecast/lane_forecast.hpp"

#include <algorithm>

#include "collectives/wide/exchange/exchange.hpp"
#include "collectives/wide/protocol/slices.hpp"
#include "libtrain/forecast/model_outline.hpp"
#include "libtrain/rounds/lane_layout.hpp"

namespace train {
namespace {

// By names and shapes, as the lanes of a cluster cut them.
struct Cut {
  Cut(const GptConfig& config, int count, int ranks, int lanes)
      : model(tensors_of(config)),
        fragments(model, count),
        layout(fragments.in_order(model), fragments, ranks, lanes) {}

  static std::vector<LogicalTensor> tensors_of(const GptConfig& config) {
    const ModelOutline outline(config, {});
    std::vector<LogicalTensor> tensors;
    for (const auto& parameter : outline.model().parameters()) {
      LogicalTensor tensor;
      tensor.name = parameter->name();
      tensor.layout = parameter->layout();
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }

  std::vector<LogicalTensor> model;
  Fragments fragments;
  LaneLayout layout;
};

Cut cut_of(const GptConfig& config, const LaneShape& shape) {
  return {config, shape.rounds.fragments, shape.ranks, shape.rounds.lanes};
}

wide::ExchangePlan equal_parts(std::size_t values, int clusters) {
  const auto count = static_cast<std::size_t>(clusters);
  const std::vector<std::uint32_t> cuts =
      wide::cuts_by_bandwidth(std::vector<std::uint64_t>(count, 0));
  wide::ExchangePlan plan;
  for (std::size_t i = 0; i < count; ++i) {
    const wide::Range slice = wide::slice_of(values, cuts, i, wide::codec_block);
    plan.owned.push_back(static_cast<std::size_t>(slice.end - slice.begin));
  }
  return plan;
}

LaneForecast forecast(const Cut& cut, const LaneShape& shape, int lane, int place) {
  const RoundOptions& rounds = shape.rounds;
  const bool every_step = rounds.synchronisation == Synchronisation::every_step;
  const bool loses = rounds.codec != wide::Codec::none;
  LaneForecast memory;
  std::int64_t chunks = 0;
  for (int i = 0; i < cut.fragments.count(); ++i) {
    const std::size_t values = cut.layout.count(i, lane);
    const wide::ExchangePlan plan = equal_parts(values, shape.clusters);
    const auto count = static_cast<std::int64_t>(values);
    const auto owned = static_cast<std::int64_t>(plan.owned[static_cast<std::size_t>(place)]);
    constexpr auto block = static_cast<std::int64_t>(wide::codec_block);
    memory.outer_state += (every_step ? 12 : 8) * count;
    memory.feedback += (loses ? 8 * (count + owned) : 0) + (count + block - 1) / block;
    memory.values += (rounds.overlap_steps > 0 ? 12 : 8) * count;
    chunks =
        std::max(chunks, static_cast<std::int64_t>(wide::buffer_bytes(plan, rounds.codec, place)));
  }
  memory.result = std::max(memory.outer_state, chunks);
  return memory;
}

}  // namespace

LaneForecast forecast_lane(const GptConfig& config, const LaneShape& shape, int lane, int place) {
  return forecast(cut_of(config, shape), shape, lane, place);
}

LaneForecast forecast_lanes(const GptConfig& config, const LaneShape& shape) {
  const Cut cut = cut_of(config, shape);
  LaneForecast most;
  for (int lane = 0; lane < shape.rounds.lanes; ++lane) {
    for (int place = 0; place < shape.clusters; ++place) {
      const LaneForecast memory = forecast(cut, shape, lane, place);
      if (memory.peak() > most.peak()) most = memory;
    }
  }
  return most;
}

std::vector<std::int64_t> fragment_sizes(const GptConfig& config, int fragments) {
  const Cut cut(config, fragments, 1, 1);
  std::vector<std::int64_t> sizes;
  for (int i = 0; i < fragments; ++i) {
    sizes.push_back(static_cast<std::int64_t>(cut.layout.count(i, 0)));
  }
  return sizes;
}

}  // namespace train

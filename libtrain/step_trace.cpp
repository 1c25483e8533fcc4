#include "libtrain/step_trace.hpp"

#include <fmt/format.h>

namespace train {
namespace {

std::vector<Communicator*> groups_of(const Grid& grid) {
  std::vector<Communicator*> groups{&grid.world(), &grid.data(), &grid.context(), &grid.tensor()};
  if (grid.replicas() != nullptr) groups.insert(groups.end(), {&grid.shard(), grid.replicas()});
  return groups;
}

// Whom the layers wait for, as a name of what they wait in.
const char* layers_wait_for(const Grid& grid) {
  if (grid.context().size() == 1) return "wait for tensor group";
  if (grid.tensor().size() == 1) return "wait for context group";
  return "wait for tensor or context group";
}

}  // namespace

StepTrace::StepTrace(Trace& trace, const Grid& grid, Gpt& model, ShardedOptimizer& optimizer)
    : trace_(trace), grid_(grid), model_(model), optimizer_(optimizer) {
  for (const ModelUnit& unit : model_.units()) names_.push_back(unit.name);
  for (Communicator* ranks : groups_of(grid_)) {
    if (ranks->size() > 1) trace_.follow(*ranks);
  }
  const auto waiting = [this](const char* what) {
    return [this, what](Clock::time_point begin, Clock::time_point end) {
      trace_.span("compute", what, begin, end);
    };
  };
  optimizer_.observe_waits(waiting("wait for data group"));
  model_.execution().observe_waits(waiting(layers_wait_for(grid_)));
  model_.add_observer(*this);
}

StepTrace::~StepTrace() {
  model_.remove_observer(*this);
  optimizer_.observe_waits({});
  model_.execution().observe_waits({});
  for (Communicator* ranks : groups_of(grid_)) ranks->observe({});
}

void StepTrace::before_forward(std::size_t, bool) {
  begin_ = Clock::now();
}

void StepTrace::after_forward(std::size_t unit) {
  draw("forward", unit);
}

void StepTrace::before_backward(std::size_t) {
  begin_ = Clock::now();
}

void StepTrace::after_backward(std::size_t unit) {
  draw("backward", unit);
}

void StepTrace::draw(const char* direction, std::size_t unit) {
  trace_.span("compute", fmt::format("{} {}", direction, names_[unit]), begin_, Clock::now());
}

}  // namespace train

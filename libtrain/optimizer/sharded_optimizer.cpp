#include "libtrain/optimizer/sharded_optimizer.hpp"

#include <cmath>

#include <fmt/format.h>

namespace train {
namespace {

void require_stage(Zero stage) {
  if (stage == Zero::stage0) return;
  throw Error(fmt::format("--zero {} is not available in this version; leave it at 0",
                          static_cast<int>(stage)));
}

Tensor zeros(Device& device, Shape shape, DataType type) {
  Tensor tensor(device.memory(), shape, type);
  device.ops().fill(tensor, 0.0f);
  return tensor;
}

}  // namespace

ShardedOptimizer::ShardedOptimizer(Gpt& model, const Grid& grid, AdamW config, Options options)
    : model_(model),
      config_((require_stage(options.zero), config.validate(), config)),
      reducer_(model.parameters(), grid.data(), model.device().memory(), options.gradient_type,
               options.bucket_bytes) {
  Device& device = model.device();
  const DataType type = model.options().type == DataType::f64 ? DataType::f64 : DataType::f32;
  for (const auto& parameter : model.parameters()) {
    State state;
    state.m = zeros(device, parameter->shape(), type);
    state.v = zeros(device, parameter->shape(), type);
    if (parameter->value().type() == DataType::bf16) {
      state.master = Tensor(device.memory(), parameter->shape(), DataType::f32);
      device.ops().convert(parameter->value(), state.master);
    }
    states_.push_back(std::move(state));
  }
  model_.on_gradient_ready([this](Parameter& parameter) { reducer_.ready(parameter); });
  begin_step();
}

ShardedOptimizer::~ShardedOptimizer() {
  model_.on_gradient_ready({});
}

void ShardedOptimizer::begin_step(int passes) {
  reducer_.begin_step(passes);
}

double ShardedOptimizer::gradient_norm() const {
  double squares = 0.0;
  for (const auto& parameter : model_.parameters()) {
    squares += model_.device().ops().sum_of_squares(parameter->gradient());
  }
  return std::sqrt(squares);
}

double ShardedOptimizer::step(float lr) {
  reducer_.finish();
  const double norm = gradient_norm();
  if (!std::isfinite(norm)) return norm;

  AdamWStep step;
  step.lr = lr;
  step.beta1 = config_.beta1;
  step.beta2 = config_.beta2;
  step.eps = config_.eps;
  step.step = ++steps_done_;
  if (config_.clip_norm > 0.0f && norm > config_.clip_norm) {
    step.gradient_scale = static_cast<float>(config_.clip_norm / norm);
  }
  for (std::size_t i = 0; i < states_.size(); ++i) {
    const Parameter& parameter = *model_.parameters()[i];
    const State& state = states_[i];
    step.weight_decay = parameter.decays() ? config_.weight_decay : 0.0f;
    model_.device().ops().adamw(parameter.value(), state.master, parameter.gradient(), state.m,
                                state.v, step);
  }
  begin_step();
  return norm;
}

}  // namespace train

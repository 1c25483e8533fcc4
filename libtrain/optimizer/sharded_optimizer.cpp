#include "libtrain/optimizer/sharded_optimizer.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "libtrain/agreement.hpp"

namespace train {
namespace {

OptimizerOptions checked(const OptimizerOptions& options, DataType type) {
  if (options.gradient_type != DataType::f32 && options.gradient_type != type) {
    throw Error(fmt::format("--grad-dtype {0} needs --dtype {0}: the model is {1}",
                            name_of(options.gradient_type), name_of(type)));
  }
  if (options.resident_elements < 0) {
    throw Error(fmt::format("{} resident elements: the smallest is 0", options.resident_elements));
  }
  return options;
}

// Ranks that differ in these would train different models, or wait for each other in vain.
void require_same_training(const Gpt& model, Communicator& ranks, const AdamW& config,
                           const OptimizerOptions& options) {
  require_same(
      ranks,
      std::vector<std::string>{
          fmt::format("model {}", model.config().to_json()),
          fmt::format("dtype {}", name_of(model.options().type)),
          fmt::format("seed {}", model.options().seed),
          fmt::format("recomputation of kind {}", static_cast<int>(model.options().recompute)),
          fmt::format("ZeRO stage {}", static_cast<int>(options.zero)),
          fmt::format("buckets of {} bytes", options.bucket_bytes),
          fmt::format("gradients in {}", name_of(options.gradient_type)),
          fmt::format("{} resident elements", options.resident_elements),
          fmt::format("AdamW with lr {}", config.lr), fmt::format("beta1 {}", config.beta1),
          fmt::format("beta2 {}", config.beta2), fmt::format("eps {}", config.eps),
          fmt::format("weight decay {}", config.weight_decay),
          fmt::format("clipping at {}", config.clip_norm)});
}

// Else ranks would take the same rows for different ones, or parts of the model for the whole.
const Gpt& parallelized(const Gpt& model, const Grid& grid) {
  if (model.has_gradient_hook()) {
    throw Error(
        "the model has an optimizer, which holds its values and gradients: end that one before "
        "another begins (with std::unique_ptr, optimizer.reset())");
  }
  const int context = model.execution().context_ranks();
  const int tensor = model.parameters().front()->layout().ranks();
  if (context == grid.context().size() && tensor == grid.tensor().size()) return model;
  throw Error(
      fmt::format("the grid has context groups of {} and tensor groups of {} ranks, but the model "
                  "is laid out for {} and {}: call parallelize(model, grid, plan) first",
                  grid.context().size(), grid.tensor().size(), context, tensor));
}

Tensor flat(Device& device, std::int64_t elements, DataType type) {
  return {device.memory(MemoryUse::optimizer_state), {elements}, type};
}

}  // namespace

BucketOptions bucket_options(const OptimizerOptions& options, int data_ranks, int shard_ranks) {
  return {.zero = options.zero,
          .data_ranks = data_ranks,
          .shard_ranks = shard_ranks,
          .bucket_bytes = options.bucket_bytes,
          .gradient_bytes = size_of(options.gradient_type),
          .resident_elements = options.resident_elements};
}

std::vector<ParameterGroup> parameter_groups(const Gpt& model) {
  std::vector<ParameterGroup> groups;
  for (const ModelUnit& unit : model.units()) groups.push_back(unit.parameters);
  return groups;
}

ShardedOptimizer::ShardedOptimizer(Gpt& model, const Grid& grid, AdamW config, Options options)
    : model_(model),
      grid_(grid),
      config_((config.validate(), config)),
      options_((require_same_training(parallelized(model, grid), grid.world(), config, options),
                checked(options, model.options().type))),
      buckets_(make_buckets(parameter_groups(model), grid.tensor().rank(), cut())),
      values_(buckets_, grid.shard(), model.device()),
      reducer_(buckets_, options_.zero, is_divided() ? grid.shard() : grid.data(), model.device(),
               options_.gradient_type, replicas()),
      prefetcher_(model.units(), buckets_, values_) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) make_state(i);
  count_norm();
  model_.on_gradient_ready([this](Parameter& parameter) { reducer_.ready(parameter); });
  if (options_.zero == Zero::stage3) model_.add_observer(prefetcher_);
  begin_step();
}

ShardedOptimizer::~ShardedOptimizer() {
  model_.on_gradient_ready({});
  model_.remove_observer(prefetcher_);
}

void ShardedOptimizer::make_state(std::size_t bucket) {
  Device& device = model_.device();
  const Tensor values = values_.shard(bucket);
  const DataType type = values.type() == DataType::f64 ? DataType::f64 : DataType::f32;
  State state;
  if (options_.moments) {
    state.m = flat(device, values.elements(), type);
    state.v = flat(device, values.elements(), type);
    device.ops().fill(state.m, 0.0f);
    device.ops().fill(state.v, 0.0f);
  }
  if (values.type() == DataType::bf16) {
    state.master = flat(device, values.elements(), DataType::f32);
    device.ops().convert(values, state.master);
  }
  states_.push_back(std::move(state));
}

// What several ranks hold counts on the lowest of them.
void ShardedOptimizer::count_norm() {
  if (replicas() != nullptr && replicas()->rank() > 0) return;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    for (const Bucket::Segment& segment : buckets_[i].segments(shard())) {
      const Layout& layout = segment.parameter->layout();
      for (const auto& [first, last] : layout.owned_ranges(segment.parameter->layout_rank())) {
        const std::int64_t begin = std::max(first, segment.begin);
        const std::int64_t end = std::min(last, segment.end);
        if (begin < end) {
          counted_.push_back({i, segment.in_shard + begin - segment.begin, end - begin});
        }
      }
    }
  }
}

void ShardedOptimizer::observe_waits(const WaitTimer::Observer& observer) {
  reducer_.waits().observe(observer);
  values_.waits().observe(observer);
}

void ShardedOptimizer::begin_step(int passes) {
  reducer_.begin_step(passes);
}

double ShardedOptimizer::gradient_norm() {
  std::vector<Tensor> parts;
  parts.reserve(counted_.size());
  for (const Counted& part : counted_) {
    parts.push_back(reducer_.gradient(part.bucket).slice(part.begin, {part.count}));
  }
  double squares = model_.device().ops().sum_of_squares(parts);
  // At stage 0 the ranks of a tensor group have it all; later a rank has its own shard alone.
  Communicator& group = is_divided() ? grid_.world() : grid_.tensor();
  const std::span<double> place(&squares, 1);
  if (group.size() > 1) group.all_reduce(place, place, ReduceOp::sum).wait();
  return std::sqrt(squares);
}

double ShardedOptimizer::step(float lr) {
  invariant(options_.moments, "an optimizer without moments does not step");
  if (!std::isfinite(lr)) throw Error(fmt::format("a step's learning rate is {}", lr));
  reducer_.finish();
  const double norm = gradient_norm();
  values_.release_all();
  if (!std::isfinite(norm)) {
    begin_step();  // the next step's gradients replace these, and are not added to them
    return norm;
  }
  AdamWStep step;
  step.lr = lr;
  step.beta1 = config_.beta1;
  step.beta2 = config_.beta2;
  step.eps = config_.eps;
  step.step = ++steps_done_;
  if (config_.clip_norm > 0.0f && norm > config_.clip_norm) {
    step.gradient_scale = static_cast<float>(config_.clip_norm / norm);
  }
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    update(i, step);
    values_.publish(i);
  }
  values_.finish_publishing();
  begin_step();
  return norm;
}

void ShardedOptimizer::update(std::size_t bucket, const AdamWStep& step) {
  const State& state = states_[bucket];
  const Tensor values = values_.shard(bucket);
  const Tensor gradient = reducer_.gradient(bucket);
  std::vector<AdamWPart> parts;
  for (const Bucket::Segment& segment : buckets_[bucket].segments(shard())) {
    const auto part = [&](const Tensor& all) {
      return all.defined() ? all.slice(segment.in_shard, {segment.end - segment.begin}) : Tensor();
    };
    parts.push_back({part(values), part(state.master), part(gradient), part(state.m), part(state.v),
                     segment.parameter->decays() ? config_.weight_decay : 0.0f});
  }
  model_.device().ops().adamw(parts, step);
}

// part(bucket) is what this rank keeps: a shard where sharded(bucket), else everything.
template <typename Sharded, typename Part>
std::vector<LogicalTensor> ShardedOptimizer::logical(Sharded sharded, Part part) const {
  std::vector<Parameter*> parameters;
  for (const auto& parameter : model_.parameters()) parameters.push_back(parameter.get());
  auto layouts =
      world_layouts(parameter_groups(model_), parameters, grid_.tensor().size(), cut(), sharded);
  std::vector<LogicalTensor> tensors(parameters.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].name = parameters[i]->name();
    tensors[i].type = part(0).type();
    tensors[i].layout = std::move(layouts[i]);
  }
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    for (const auto& segment : sharded(buckets_[b]) ? buckets_[b].segments(grid_.shard().rank())
                                                    : buckets_[b].segments()) {
      const auto found = std::ranges::find(parameters, segment.parameter);
      tensors[static_cast<std::size_t>(found - parameters.begin())].local =
          part(b).slice(segment.in_shard, {segment.end - segment.begin});
    }
  }
  return tensors;
}

std::vector<LogicalTensor> ShardedOptimizer::parameters() const {
  return logical([](const Bucket& bucket) { return bucket.gathered; },
                 [this](std::size_t bucket) { return values_.kept(bucket); });
}

std::vector<LogicalTensor> ShardedOptimizer::full_precision() const {
  return logical([this](const Bucket&) { return is_divided(); },
                 [this](std::size_t bucket) {
                   const Tensor& master = states_[bucket].master;
                   return master.defined() ? master : values_.shard(bucket);
                 });
}

void ShardedOptimizer::publish_full_precision() {
  values_.release_all();
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    const Tensor& master = states_[i].master;
    if (master.defined()) model_.device().ops().convert(master, values_.shard(i));
    values_.publish(i);
  }
  values_.finish_publishing();
}

std::vector<LogicalTensor> ShardedOptimizer::gradients() const {
  return logical([this](const Bucket&) { return is_divided(); },
                 [this](std::size_t bucket) { return reducer_.gradient(bucket); });
}

std::vector<LogicalTensor> ShardedOptimizer::state() const {
  std::vector<LogicalTensor> all;
  const auto add = [&](const char* suffix, Tensor State::*member) {
    if (!(states_.front().*member).defined()) return;
    for (LogicalTensor& tensor :
         logical([this](const Bucket&) { return is_divided(); },
                 [&](std::size_t bucket) { return states_[bucket].*member; })) {
      tensor.name += suffix;
      all.push_back(std::move(tensor));
    }
  };
  add(".m", &State::m);
  add(".v", &State::v);
  add(".master", &State::master);
  return all;
}

std::vector<bool> ShardedOptimizer::decays() const {
  std::vector<bool> decays;
  for (const auto& parameter : model_.parameters()) decays.push_back(parameter->decays());
  return decays;
}

std::string ShardedOptimizer::first_not_finite(std::span<const LogicalTensor> tensors) const {
  for (const LogicalTensor& tensor : tensors) {
    if (tensor.local.defined() && !model_.device().ops().all_finite(tensor.local)) {
      return tensor.name;
    }
  }
  return "";
}

std::string ShardedOptimizer::first_parameter_not_finite() const {
  return first_not_finite(parameters());
}

std::string ShardedOptimizer::first_gradient_not_finite() const {
  return first_not_finite(gradients());
}

}  // namespace train

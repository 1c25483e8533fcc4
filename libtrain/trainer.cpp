#include "libtrain/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

#include "libtrain/agreement.hpp"
#include "libtrain/metrics/flops.hpp"
#include "libtrain/shared_passes.hpp"
#include "libtrain/step_passes.hpp"

namespace train {
namespace {

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

TrainerOptions resolved(TrainerOptions options, int data_ranks) {
  if (options.batch < 1) {
    throw Error(fmt::format("--batch is {}; it must be at least 1", options.batch));
  }
  if (options.micro_batch < 0) {
    throw Error(fmt::format("--micro-batch is {}; it must be at least 1", options.micro_batch));
  }
  options.micro_batch = StepPasses::of(options.batch, data_ranks, options.micro_batch).sequences;
  options.schedule.steps = options.steps;
  options.schedule.validate();
  if (options.stop_at < 0 || options.stop_at > options.steps) {
    throw Error(fmt::format("--stop-at is {}; it must lie between 1 and --steps {}",
                            options.stop_at, options.steps));
  }
  return options;
}

ModelSize size_of(const GptConfig& config, std::int64_t context) {
  return {config.multiplied_parameter_count(), config.layers, config.heads * config.head_width,
          context};
}

}  // namespace

Trainer::Trainer(const Grid& grid, Gpt& model, ShardedOptimizer& optimizer, TokenDataset& data,
                 TrainerOptions options)
    : grid_(grid),
      model_(model),
      optimizer_(optimizer),
      data_(data),
      options_(resolved(options, grid.batch_parts())),
      last_step_(options_.stop_at > 0 ? options_.stop_at : options_.steps) {
  data_.fit_model(static_cast<std::size_t>(model_.config().context),
                  static_cast<std::int32_t>(model_.config().vocabulary));
  context_ = static_cast<std::int64_t>(data_.context());
  passes_ = StepPasses::of(options_.batch, grid.batch_parts(), options_.micro_batch).count;
  require_same_run();
  const auto tokens = static_cast<std::size_t>(options_.micro_batch * context_);
  inputs_.resize(tokens);
  targets_.resize(tokens);
}

void Trainer::require_same_run() const {
  const Schedule& schedule = options_.schedule;
  require_same(grid_.world(),
               std::vector<std::string>{
                   fmt::format("{} steps", options_.steps), fmt::format("last step {}", last_step_),
                   fmt::format("a batch of {}", options_.batch),
                   fmt::format("passes of {}", options_.micro_batch),
                   fmt::format("schedule {}", static_cast<int>(schedule.kind)),
                   fmt::format("lr {}", schedule.lr), fmt::format("lowest lr {}", schedule.min_lr),
                   fmt::format("{} steps of warm-up", schedule.warmup_steps),
                   fmt::format("{} steps of decay", schedule.decay_steps),
                   fmt::format("evaluation every {} steps", options_.eval_every),
                   fmt::format("evaluation of {} sequences", options_.eval_sequences),
                   fmt::format("data of {}", data_.identity()),
                   fmt::format("held-out data of {}", data_.held_out())});
}

void Trainer::add_trace(std::unique_ptr<Trace> trace, std::int64_t steps) {
  step_trace_ = std::make_unique<StepTrace>(*trace, grid_, model_, optimizer_);
  trace_ = std::move(trace);
  trace_steps_ = steps;
}

void Trainer::finish_trace() {
  if (trace_ == nullptr) return;
  step_trace_.reset();
  trace_->write();
  trace_.reset();
}

void Trainer::set_rounds(Rounds& rounds) {
  rounds_ = &rounds;
  rounds.begin({.steps = options_.steps,
                .last_step = last_step_,
                .batch = options_.batch,
                .context = context_,
                .schedule = options_.schedule});
}

void Trainer::sample_every(std::int64_t steps, std::function<void(std::int64_t step)> sample) {
  sample_every_ = steps;
  sample_ = std::move(sample);
}

// Alone, the steps of the schedule, each with the next batch of the order.
std::optional<Turn> Trainer::next_turn() {
  if (rounds_ != nullptr) {
    try {
      return rounds_->next();
    } catch (const CutOff&) {
      gave_up_ = std::current_exception();
      return std::nullopt;
    }
  }
  if (next_step_ >= last_step_) return std::nullopt;
  const std::uint64_t first = next_sequence_;
  next_sequence_ += static_cast<std::uint64_t>(options_.batch);
  return Turn{next_step_++, wide::Range{first, next_sequence_}};
}

void Trainer::run() {
  if (options_.measure_mfu) measure_peak();
  next_step_ = optimizer_.steps_done();
  first_sequence_ = resumed_at_ ? resumed_at_->sequences
                                : static_cast<std::uint64_t>(next_step_ * options_.batch);
  next_sequence_ = first_sequence_;
  std::int64_t steps_run = 0;
  std::optional<Turn> turn = next_turn();
  while (turn) {
    const auto start = Clock::now();
    const double waited_before = seconds_waited();
    StepRecord record = train_step(*turn);
    const DataPlace place{next_sequence_, static_cast<std::uint64_t>(tokens_so_far())};
    // Exchanges that are due after this step belong to it.
    turn = stop_wanted() ? std::nullopt : next_turn();
    if (!turn || (checkpoints_ != nullptr && checkpoints_->is_due(false))) {
      require_finite_parameters(record.step);
    }
    if (checkpoints_ != nullptr) checkpoints_->after_step(place, !turn);
    record.step_s = seconds_since(start);
    record.comm_s = seconds_waited() - waited_before;
    if (++steps_run >= trace_steps_ || !turn) finish_trace();
    finish_record(record, !turn);
    if (grid_.rank() == 0) {
      for (const auto& sink : sinks_) sink->write(record);
    }
    if (sample_ && is_due(sample_every_, record.step, !turn)) sample_(record.step);
  }
  finish_trace();
  for (const auto& sink : sinks_) sink->finish();
  if (checkpoints_ != nullptr) checkpoints_->finish();
  if (gave_up_) std::rethrow_exception(gave_up_);
}

// A signal reaches ranks at different times.
bool Trainer::stop_wanted() {
  if (!stop_ || rounds_ != nullptr) return false;
  std::int32_t wanted = stop_() ? 1 : 0;
  const std::span<std::int32_t> place(&wanted, 1);
  if (grid_.world().size() > 1) grid_.world().all_reduce(place, place, ReduceOp::max).wait();
  stopped_ = wanted != 0;
  return stopped_;
}

// Those of the data that the run read before, and of the present ones.
std::int64_t Trainer::tokens_so_far() const {
  const auto width = static_cast<std::uint64_t>(context_);
  const std::uint64_t here = next_sequence_ - first_sequence_;
  const std::uint64_t before = resumed_at_ ? resumed_at_->tokens : first_sequence_ * width;
  return static_cast<std::int64_t>(before + here * width);
}

StepRecord Trainer::train_step(const Turn& turn) {
  const float lr = options_.schedule.at(turn.step);
  const auto tokens = static_cast<std::int64_t>(turn.samples.size()) * context_;
  const std::vector<Loss> losses = run_passes(turn);
  const double norm = step_optimizer(lr);
  // Last: a device computes while the host is ahead of it.
  double own = 0.0;
  for (const Loss& loss : losses) own += loss.value();
  const double loss = sum_over_ranks(own);
  if (!std::isfinite(loss) || !std::isfinite(norm)) stop_not_finite(turn.step, loss, norm);
  if (rounds_ != nullptr) rounds_->trained(static_cast<std::uint64_t>(tokens));

  StepRecord record;
  record.step = turn.step + 1;
  record.step_tokens = tokens;
  record.tokens = tokens_so_far();
  record.loss = loss;
  record.lr = lr;
  record.grad_norm = norm;
  return record;
}

// What is known only once the exchange that belongs to the step is over.
void Trainer::finish_record(StepRecord& record, bool last) {
  record.tokens_per_s = static_cast<double>(record.step_tokens) / record.step_s;
  record.mfu = model_flops_utilisation(flops_per_token(size_of(model_.config(), context_)),
                                       record.tokens_per_s, peak_flops_);
  if (rounds_ != nullptr) {
    const wide::Position& trained = rounds_->state().position;
    if (rounds_->steps_parameters()) record.grad_norm = rounds_->mean_norm();
    record.tokens = static_cast<std::int64_t>(trained.next - trained.holes.size()) * context_;
    const WideTraffic::Bytes moved = rounds_->traffic().total();
    record.wide_bytes_sent = static_cast<std::int64_t>(moved.sent);
    record.wide_bytes_received = static_cast<std::int64_t>(moved.received);
    if (const EgressMeter* egress = rounds_->egress()) record.egress_usd = egress->spent_usd();
    record.job = JobRecord{static_cast<std::int64_t>(rounds_->state().id.round),
                           static_cast<std::int64_t>(rounds_->epoch()), rounds_->clusters(),
                           rounds_->hash()};
  }
  if (!is_due(options_.eval_every, record.step, last)) return;
  if (const auto evaluation = evaluate()) {
    require_finite_evaluation(record.step, evaluation->loss);
    record.val_loss = evaluation->loss;
    record.val_losses = evaluation->sources;
  }
  if (choices_) record.choice_accuracy = choices_->measure(model_, grid_, options_.micro_batch);
}

// Every so many steps and at the end, unless this run goes because it has to.
bool Trainer::is_due(std::int64_t every, std::int64_t step, bool last) const {
  const bool scheduled = every > 0 && step % every == 0;
  const bool left = stopped_ || (rounds_ != nullptr && last && !rounds_->finished());
  return (scheduled || last) && !left;
}

std::vector<Loss> Trainer::run_passes(const Turn& turn) {
  std::vector<std::uint64_t> positions;
  for (const wide::Range& range : turn.samples.ranges()) {
    for (std::uint64_t at = range.begin; at < range.end; ++at) positions.push_back(at);
  }
  const auto count = static_cast<std::int64_t>(positions.size());
  const std::int64_t begin = count * grid_.batch_part() / grid_.batch_parts();
  const std::int64_t end = count * (grid_.batch_part() + 1) / grid_.batch_parts();
  const auto mine = std::span(positions).subspan(static_cast<std::size_t>(begin),
                                                 static_cast<std::size_t>(end - begin));
  optimizer_.begin_step(static_cast<int>(passes_));
  std::vector<Loss> losses;
  for (std::int64_t pass = 0; pass < passes_; ++pass) {
    const std::int64_t first = pass * options_.micro_batch;
    batch_ = load(mine, first);
    // In a job the step's samples are known by their places in its order.
    const bool alone = rounds_ == nullptr || positions.empty();
    const std::int64_t base = alone ? 0 : static_cast<std::int64_t>(positions.front());
    batch_.first_sequence = base + begin + first;
    batch_.step = turn.step;
    batch_.tokens_in_step = count * context_;
    losses.push_back(run_forward(batch_));
    const TraceScope scope(trace_.get(), "compute", "backward");
    losses.back().backward();
  }
  return losses;
}

Loss Trainer::run_forward(const Batch& batch) {
  const TraceScope scope(trace_.get(), "compute", "forward");
  return model_.loss(batch);
}

double Trainer::step_optimizer(float lr) {
  if (checkpoints_ != nullptr) checkpoints_->before_update();
  const TraceScope scope(trace_.get(), "compute", "optimizer");
  if (rounds_ == nullptr || !rounds_->steps_parameters()) return optimizer_.step(lr);
  optimizer_.reduce();
  return 0.0;  // of the mean over clusters, once it is there
}

double Trainer::seconds_waited() const {
  const double rounds = rounds_ == nullptr ? 0.0 : rounds_->seconds_waited();
  return optimizer_.seconds_waited() + model_.execution().seconds_waited() + reduce_seconds_ +
         rounds;
}

// A micro-batch of this rank's samples, from the `first` on. Where there are fewer, the rest of its
// rows have no targets.
Batch Trainer::load(std::span<const std::uint64_t> positions, std::int64_t first) {
  const auto width = static_cast<std::size_t>(context_);
  const auto begin = std::min(static_cast<std::size_t>(first), positions.size());
  const auto rows = positions.subspan(
      begin, std::min(static_cast<std::size_t>(options_.micro_batch), positions.size() - begin));
  // Positions that follow each other are found in the order at once: nearly always all of them.
  for (std::size_t row = 0, count = 0; row < rows.size(); row += count) {
    count = 1;
    while (row + count < rows.size() && rows[row + count] == rows[row] + count) ++count;
    data_.batch(rows[row], count, std::span(inputs_).subspan(row * width, count * width),
                std::span(targets_).subspan(row * width, count * width));
  }
  std::ranges::fill(std::span(inputs_).subspan(rows.size() * width), 0);
  std::ranges::fill(std::span(targets_).subspan(rows.size() * width), -1);
  Batch batch;
  batch.inputs = inputs_;
  batch.targets = targets_;
  batch.sequences = options_.micro_batch;
  batch.context = context_;
  return batch;
}

double Trainer::sum_over_ranks(double value) {
  const auto start = Clock::now();
  const std::span<double> place(&value, 1);
  if (grid_.data().size() > 1) {
    grid_.data().all_reduce(place, place, ReduceOp::sum).wait();
  }
  reduce_seconds_ += seconds_since(start);
  return value;
}

std::optional<Evaluation> Trainer::evaluate() {
  if (data_.validation_samples() == 0) return std::nullopt;
  const auto sources = data_.validation();
  Evaluation evaluation;
  std::uint64_t first = 0;
  for (const TokenDataset::Source& source : sources) {
    const double asked_for = source.share * static_cast<double>(options_.eval_sequences);
    const auto some = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(asked_for + 0.5));
    const std::uint64_t wanted =
        options_.eval_sequences > 0 ? std::min(some, source.samples) : source.samples;
    const double loss = mean_loss(first, source.samples, static_cast<std::int64_t>(wanted));
    evaluation.loss += source.share * loss;
    if (sources.size() > 1) evaluation.sources.push_back({source.name, loss});
    first += source.samples;
  }
  return evaluation;
}

// Of so many of the `available` held-out sequences from `begin` on.
double Trainer::mean_loss(std::uint64_t begin, std::uint64_t available, std::int64_t wanted) {
  const auto width = static_cast<std::size_t>(context_);
  double sum = 0.0;
  for (const auto& [first, count, counts] : shared_passes(grid_, wanted, options_.micro_batch)) {
    for (std::int64_t i = 0; i < count; ++i) {
      // Evenly over the held-out part, so that fewer sequences still see all of it.
      const auto sample = begin + static_cast<std::uint64_t>(first + i) * available /
                                      static_cast<std::uint64_t>(wanted);
      const auto place = static_cast<std::size_t>(i) * width;
      data_.validation_batch(sample, 1, std::span(inputs_).subspan(place, width),
                             std::span(targets_).subspan(place, width));
    }
    const auto tokens = static_cast<std::size_t>(count) * width;
    Batch batch;
    batch.inputs = std::span(inputs_).first(tokens);
    batch.targets = std::span(targets_).first(tokens);
    batch.sequences = count;
    batch.context = context_;
    const double loss = model_.evaluate(batch);
    if (counts) sum += loss * static_cast<double>(count);
  }
  return sum_over_ranks(sum) / static_cast<double>(wanted);
}

void Trainer::measure_peak() {
  // All ranks at once: those that share a processor share its peak.
  grid_.world().barrier().wait();
  const Device& device = grid_.device();
  const DataType type = model_.options().type;
  if (const auto known = device.ops().peak_flops(type)) {
    // Ranks that share a GPU share its peak, too.
    const std::string own = identity_of_cuda_device(device.gpu().value().index);
    const auto gpus = gpus_of_ranks(grid_.world(), own);
    peak_flops_ = *known / static_cast<double>(std::count(gpus.begin(), gpus.end(), own));
  } else {
    peak_flops_ = measure_peak_flops(device.host_threads());
    if (type == DataType::bf16) peak_flops_ *= device.ops().bf16_speedup();
  }
  double least = peak_flops_;
  const std::span<double> place(&peak_flops_, 1), least_place(&least, 1);
  grid_.world().all_reduce(place, place, ReduceOp::sum).wait();
  grid_.world().all_reduce(least_place, least_place, ReduceOp::min).wait();
  if (!(least > 0.0)) peak_flops_ = 0.0;  // of the ranks together it is not known
}

}  // namespace train

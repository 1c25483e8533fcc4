#include "examples/gpt/plan_report.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "examples/gpt/quantities.hpp"

namespace {

const char* text_of(train::Recompute recompute) {
  switch (recompute) {
    case train::Recompute::none:
      return "none";
    case train::Recompute::attention:
      return "attention";
    case train::Recompute::block:
      return "block";
  }
  train::unreachable("unknown Recompute");
}

double tokens_per_s(const PlanArguments& arguments, const train::GridPlan& plan) {
  return static_cast<double>(arguments.question.batch * plan.shape.config.context) /
         plan.step.seconds();
}

std::string lanes_of(const PlanArguments& arguments) {
  if (arguments.clusters == 1) return "";
  const train::RoundOptions& rounds = arguments.training.rounds;
  return fmt::format(
      "one of {} clusters: {} of the ranks {} a lane, for which it has {} of {} memory\n",
      arguments.clusters, rounds.lanes, rounds.lanes == 1 ? "carries" : "carry",
      shown_bytes(static_cast<double>(arguments.lane.peak())),
      arguments.question.training.gpu ? "the host's" : "its");
}

std::string head_of(const PlanArguments& arguments) {
  const train::GridQuestion& question = arguments.question;
  const auto& between = question.interconnect;
  const train::GptConfig& config = question.training.config;
  return fmt::format(
      "{}: {:.4g} million parameters, context {}, {}; {} sequences a step on {} ranks, {} a node\n"
      "reckoned with {:.4g} TFLOP/s and {} of memory a rank; {}/s inside a node, {}/s between\n"
      "{}\n",
      arguments.training.model, static_cast<double>(config.parameter_count()) * 1e-6,
      config.context, arguments.training.dtype, question.batch, question.ranks,
      between.ranks_per_node, question.device.flops * 1e-12,
      shown_bytes(static_cast<double>(question.memory_bytes)), shown_bytes(between.node_rate),
      shown_bytes(between.network_rate), lanes_of(arguments));
}

std::string grid_text(const train::TrainingShape& shape) {
  if (shape.context == 1) return fmt::format("{} x {}", shape.data, shape.tensor);
  return fmt::format("{} x {} x {}", shape.data, shape.context, shape.tensor);
}

std::string zero_text(const train::TrainingShape& shape) {
  const int stage = static_cast<int>(shape.optimizer.zero);
  return shape.replicas() == 1 ? fmt::format("{}", stage)
                               : fmt::format("{}/{}", stage, shape.shard);
}

std::string line_of(const PlanArguments& arguments, const train::GridPlan& plan, bool best) {
  const train::TrainingShape& shape = plan.shape;
  const auto gb = [](std::int64_t bytes) { return static_cast<double>(bytes) * 1e-9; };
  return fmt::format(
      "{} {:>9} {:>5} {:>6} {:>10} {:>6} x{:<5} {:>8.3g} {:>7.3g} {:>7.3g} {:>9.4g} {:>10.0f}  "
      "{}\n",
      best ? "*" : " ", grid_text(shape), zero_text(shape),
      shape.tensor == 1         ? ""
      : shape.sequence_parallel ? "split"
                                : "whole",
      text_of(shape.recompute), shape.sequences, shape.passes, gb(plan.memory.total()),
      gb(plan.memory.state()), gb(plan.memory.activations), plan.step.seconds(),
      tokens_per_s(arguments, plan), plan.step.limit());
}

std::string reasons_of(const PlanArguments& arguments, const train::GridPlan& best,
                       const train::GridPlan& fastest) {
  const train::StepForecast& step = best.step;
  std::string text = fmt::format(
      "Of a step's {:.4g} s, passes take {:.4g}, the optimizer {:.4g}; the tensor group is waited "
      "for {:.4g} s,\n{}the data group {:.4g}.",
      step.seconds(), step.passes_s, step.optimizer_s, step.tensor_s,
      best.shape.context == 1 ? "" : fmt::format("the context group {:.4g}, ", step.context_s),
      step.data_s);
  if (&best != &fastest) {
    text += fmt::format(
        "\nThe first line may be {:.1f}% faster; where plans are within 2%, the one with fewer "
        "ways "
        "to be slow is taken.",
        100.0 * (step.seconds() / fastest.step.seconds() - 1.0));
  }
  const std::string unequal = best.unequal(arguments.question.batch);
  if (!unequal.empty())
    text += fmt::format("\nUnequal shares, for which others wait: {}.", unequal);
  return text + "\n";
}

std::string command_of(const PlanArguments& arguments, const train::GridPlan& plan) {
  const int ranks = arguments.question.ranks;
  const int node = arguments.question.interconnect.ranks_per_node;
  const std::string place = ranks > node ? fmt::format(" --map-by ppr:{}:node", node) : "";
  return fmt::format("mpirun -np {}{} build/bin/train_gpt {}\n", ranks, place,
                     fmt::join(flags_of(arguments, plan), " "));
}

nlohmann::ordered_json json_of_plan(const PlanArguments& arguments, const train::GridPlan& plan) {
  const train::TrainingShape& shape = plan.shape;
  const train::MemoryForecast& memory = plan.memory;
  const train::StepForecast& step = plan.step;
  return {{"data", shape.data},
          {"context", shape.context},
          {"tensor", shape.tensor},
          {"zero", static_cast<int>(shape.optimizer.zero)},
          {"zero_ranks", shape.shard},
          {"sequence_parallel", shape.splits_rows()},
          {"recompute", text_of(shape.recompute)},
          {"micro_batch", shape.sequences},
          {"passes", shape.passes},
          {"memory_bytes",
           {{"total", memory.total()},
            {"parameters", memory.parameters},
            {"gradients", memory.gradients},
            {"optimizer_state", memory.optimizer_state},
            {"activations", memory.activations},
            {"communication", memory.communication},
            {"lane", memory.lane},
            {"beside", memory.beside}}},
          {"step_s", step.seconds()},
          {"passes_s", step.passes_s},
          {"optimizer_s", step.optimizer_s},
          {"tensor_wait_s", step.tensor_s},
          {"context_wait_s", step.context_s},
          {"data_wait_s", step.data_s},
          {"tokens_per_s", tokens_per_s(arguments, plan)},
          {"limit", step.limit()},
          {"unequal", plan.unequal(arguments.question.batch)},
          {"flags", flags_of(arguments, plan)}};
}

nlohmann::ordered_json json_of_lane(const PlanArguments& arguments) {
  const train::LaneForecast& lane = arguments.lane;
  return {{"fragment_values", train::fragment_sizes(arguments.question.training.config,
                                                    arguments.training.rounds.fragments)},
          {"peak", lane.peak()},
          {"outer_state", lane.outer_state},
          {"feedback", lane.feedback},
          {"values", lane.values},
          {"result", lane.result}};
}

// As --memory takes it.
std::string rounded_up(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.0f}MB", std::ceil(bytes * 1e-6))
                     : fmt::format("{:.0f}GB", std::ceil(bytes * 1e-9));
}

std::string named(const train::GridPlan& plan) {
  const train::TrainingShape& shape = plan.shape;
  std::string text = fmt::format("data {}", shape.data);
  if (shape.context > 1) text += fmt::format(" x context {}", shape.context);
  text += fmt::format(" x tensor {} with --zero {}", shape.tensor,
                      static_cast<int>(shape.optimizer.zero));
  if (shape.replicas() > 1) text += fmt::format(" --zero-ranks {}", shape.shard);
  return text +
         fmt::format(" --recompute {} --micro-batch {}", text_of(shape.recompute), shape.sequences);
}

}  // namespace

std::string text_of(const PlanArguments& arguments, const train::GridChoice& choice) {
  std::string text = head_of(arguments);
  text += fmt::format("  {:>9} {:>5} {:>6} {:>10} {:>6} {:<6} {:>8} {:>7} {:>7} {:>9} {:>10}\n",
                      "data x", "", "", "", "micro-", "", "memory", "of it", "activa-", "s a", "");
  text += fmt::format("  {:>9} {:>5} {:>6} {:>10} {:>6} {:<6} {:>8} {:>7} {:>7} {:>9} {:>10}  {}\n",
                      "tensor", "zero", "rows", "recompute", "batch", "passes", "GB", "state",
                      "tions", "step", "tokens/s", "longest");
  const auto lines = std::min(choice.plans.size(), static_cast<std::size_t>(arguments.lines));
  for (std::size_t i = 0; i < lines; ++i) {
    text += line_of(arguments, choice.plans[i], i == choice.best);
  }
  const train::GridPlan& best = choice.plans[choice.best];
  if (choice.best >= lines) text += line_of(arguments, best, true);
  return text + "\n" + reasons_of(arguments, best, choice.plans.front()) + "\n" +
         command_of(arguments, best);
}

std::string json_of(const PlanArguments& arguments, const train::GridChoice& choice) {
  nlohmann::ordered_json json;
  json["parameters"] = arguments.question.training.config.parameter_count();
  json["ranks"] = arguments.question.ranks;
  if (arguments.clusters > 1) json["lane_bytes"] = json_of_lane(arguments);
  json["plans"] = nlohmann::ordered_json::array();
  for (const train::GridPlan& plan : choice.plans) {
    json["plans"].push_back(json_of_plan(arguments, plan));
  }
  json["best"] = nullptr;
  json["would_fit"] = nullptr;
  if (choice.plans.empty()) {
    json["would_fit"] = what_would_fit(arguments, choice);
  } else {
    json["best"] = choice.best;
  }
  return json.dump(1);
}

std::string what_would_fit(const PlanArguments& arguments, const train::GridChoice& choice) {
  const train::GridQuestion& question = arguments.question;
  const train::GridPlan& smallest = *choice.smallest;
  std::string text = fmt::format(
      "nothing fits into {} a rank: {} needs least, {} ({} of parameters, gradients and optimizer "
      "state, {} of activations{}). What would do: --memory {}",
      shown_bytes(static_cast<double>(question.memory_bytes)), named(smallest),
      shown_bytes(static_cast<double>(smallest.memory.total())),
      shown_bytes(static_cast<double>(smallest.memory.state())),
      shown_bytes(static_cast<double>(smallest.memory.activations)),
      smallest.memory.lane == 0
          ? ""
          : fmt::format(", {} of a lane", shown_bytes(static_cast<double>(smallest.memory.lane))),
      rounded_up(static_cast<double>(smallest.memory.total())));
  if (const auto ranks = train::enough_ranks(question)) text += fmt::format(", --ranks {}", *ranks);
  train::GridQuestion freer = question;
  freer.data = freer.context = freer.tensor = std::nullopt;
  freer.zero.reset();
  freer.shard.reset();
  freer.sequence_parallel.reset();
  freer.recompute.reset();
  freer.micro_batch.reset();
  if (const auto free = train::choose_grid(freer); !free.plans.empty()) {
    text += fmt::format(", {}", named(free.plans[free.best]));
  }
  if (question.training.type == train::DataType::f32) {
    freer = question;
    freer.training.type = train::DataType::bf16;
    if (!train::choose_grid(freer).plans.empty()) text += ", --dtype bf16";
  }
  return text;
}

std::vector<std::string> flags_of(const PlanArguments& arguments, const train::GridPlan& plan) {
  const TrainArguments& training = arguments.training;
  const train::TrainingShape& shape = plan.shape;
  std::vector<std::string> flags = {"--model", training.model, "--dtype", training.dtype};
  const auto add = [&](const char* flag, const auto& value) {
    flags.emplace_back(flag);
    flags.push_back(fmt::format("{}", value));
  };
  add("--device", training.grid.device);
  if (training.grid.share_gpu) flags.emplace_back("--share-gpu");
  if (training.grid.threads != 0) add("--threads", training.grid.threads);
  add("--context", shape.config.context);
  if (training.vocabulary != 0) add("--vocab", training.vocabulary);
  if (training.bias_given) add("--bias", training.bias);
  if (training.dropout > 0.0f) add("--dropout", training.dropout);
  add("--batch", arguments.question.batch);
  add("--micro-batch", shape.sequences);
  add("--data-parallel", shape.data);
  if (shape.context > 1) add("--context-parallel", shape.context);
  add("--tensor-parallel", shape.tensor);
  add("--zero", static_cast<int>(shape.optimizer.zero));
  if (shape.replicas() > 1) add("--zero-ranks", shape.shard);
  if (shape.tensor > 1) add("--sequence-parallel", shape.sequence_parallel);
  add("--recompute", text_of(shape.recompute));
  if (training.gradient_dtype != "f32") add("--grad-dtype", training.gradient_dtype);
  if (shape.optimizer.resident_elements != train::OptimizerOptions{}.resident_elements) {
    add("--zero3-resident", shape.optimizer.resident_elements);
  }
  if (training.grid.sum_order == train::SumOrder::any) add("--sum-order", "any");
  if (training.bucket_mib != 0) add("--bucket-mib", training.bucket_mib);
  return flags;
}

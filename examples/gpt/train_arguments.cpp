#include "examples/gpt/train_arguments.hpp"

#include <memory>

#include <fmt/format.h>

#include "examples/gpt/arguments.hpp"
#include "examples/gpt/shape_arguments.hpp"
#include "examples/gpt/toml_config.hpp"

namespace {

constexpr const char* footer =
    "MFU = (6 N + 12 L C T) x tokens/s / peak, with N parameters that are multiplied, L\n"
    "layers, attention width C and context T (PaLM, appendix B). The peak is measured at the\n"
    "start: the multiply-adds per second that all ranks' threads reach together.\n"
    "Every flag can stand in a --config file under its name: batch = 64.";

void add_data_flags(CLI::App& app, TrainArguments& arguments) {
  app.add_option("--data", arguments.data,
                 "Text files, directories, globs, llm.c or Megatron token shards; weight=0.7 or "
                 "weight=0.7,name=web before files makes them a source of a mixture")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--val-data", arguments.validation_data,
                 "Held-out data of their own, weighted in the same way")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--val-fraction", arguments.validation_fraction,
                 "Share of each source's end that is held out [0.1 of text, none of shards]")
      ->check(at_least(0));
  app.add_option("--tokenizer", arguments.tokenizer,
                 "bytes | chars | gpt2:FILE | hf:tokenizer.json [bytes]");
}

void add_training_flags(CLI::App& app, TrainArguments& arguments) {
  auto& trainer = arguments.trainer;
  app.add_option("--init", arguments.init,
                 "Start from the weights of this safetensors file, or checkpoint");
  app.add_option("--seed", arguments.seed, "Of weights, dropout and sample order")
      ->check(at_least(0))
      ->capture_default_str();
  app.add_option("--timeout", arguments.timeout_s, "Seconds that ranks wait for each other")
      ->check(at_least(1))
      ->capture_default_str();
  app.add_option("--steps", trainer.steps, "Of the whole schedule")
      ->check(at_least(1))
      ->capture_default_str();
  app.add_option("--stop-at", trainer.stop_at,
                 "End after this step, or a job after its round; the schedule stays");
  app.add_option("--stop-after-minutes", arguments.stop_after_minutes,
                 "End, as on SIGTERM, behind the step that is under way then [never]")
      ->check(at_least(0));
  app.add_option("--stopped-status", arguments.stopped_status,
                 "Exit status of a run that a signal or --stop-after-minutes ends early; one that "
                 "ends at --stop-at ends with 0")
      ->check(CLI::Range(0, 125))
      ->capture_default_str();
  app.add_option("--schedule", arguments.schedule, "constant | cosine | wsd")
      ->capture_default_str();
  app.add_option("--lr", arguments.adamw.lr, "Highest learning rate")->capture_default_str();
  app.add_option("--min-lr", arguments.min_lr, "Lowest learning rate [lr / 10]")
      ->check(at_least(0));
  app.add_option("--warmup", trainer.schedule.warmup_steps, "Steps of rising learning rate")
      ->capture_default_str();
  app.add_option("--decay-steps", trainer.schedule.decay_steps,
                 "Steps of falling learning rate in wsd [steps / 10]");
  app.add_option("--beta1", arguments.adamw.beta1, "Of AdamW")->capture_default_str();
  app.add_option("--beta2", arguments.adamw.beta2, "Of AdamW")->capture_default_str();
  app.add_option("--eps", arguments.adamw.eps, "Of AdamW")->capture_default_str();
  app.add_option("--weight-decay", arguments.adamw.weight_decay, "On matrices only")
      ->capture_default_str();
  app.add_option("--clip", arguments.adamw.clip_norm, "Largest gradient norm; 0: no clipping")
      ->capture_default_str();
}

void add_output_flags(CLI::App& app, TrainArguments& arguments) {
  auto& trainer = arguments.trainer;
  app.add_option("--eval-every", trainer.eval_every, "Steps between evaluations [at the end only]")
      ->check(at_least(0));
  app.add_option("--eval-sequences", trainer.eval_sequences,
                 "Held-out sequences of an evaluation [all]")
      ->check(at_least(0));
  auto* choices = app.add_option("--eval-choices", arguments.eval_choices,
                                 "Multiple-choice questions as llm.c has them (HellaSwag, MMLU): "
                                 "evaluations answer them, too");
  app.add_option("--eval-questions", arguments.eval_questions, "Of those, so many [all]")
      ->check(at_least(0))
      ->needs(choices);
  app.add_option("--sample-every", arguments.sample_every,
                 "Steps between texts that the model writes; one at the end [none]")
      ->check(at_least(0));
  app.add_option("--sample-prompt", arguments.sample_prompt, "What these texts begin with");
  app.add_option("--sample-tokens", arguments.sample_tokens, "Tokens that the model adds to it")
      ->check(at_least(1))
      ->capture_default_str();
  app.add_option("--metrics", arguments.metrics, "JSON lines, one per step");
  app.add_option("--tensorboard", arguments.tensorboard, "Directory for TensorBoard event files");
  app.add_flag("--report-memory", arguments.report_memory,
               "Print what every rank's memory held, at the end");
  app.add_option("--trace", arguments.trace,
                 "Write a timeline of every rank's computation and communication to this file, for "
                 "ui.perfetto.dev");
  app.add_option("--trace-steps", arguments.trace_steps, "Steps that the timeline shows")
      ->check(at_least(1))
      ->capture_default_str();
  app.add_option("--progress", arguments.progress, "auto | live | plain | none")
      ->capture_default_str();
  app.add_option("--save-weights", arguments.save_weights,
                 "Write weights, configuration and tokenizer to this safetensors file at the end");
}

void add_checkpoint_flags(CLI::App& app, TrainArguments& arguments) {
  constexpr const char* group = "Checkpoints";
  const auto add = [&](const char* name, auto& value, const std::string& help) {
    return app.add_option(name, value, help)->group(group);
  };
  auto* checkpoint = add("--checkpoint", arguments.checkpoint,
                         "Directory for checkpoints; one is saved after the last step");
  add("--save-every", arguments.save_every, "Steps between checkpoints [after the last step only]")
      ->check(at_least(0))
      ->needs(checkpoint);
  app.add_flag("--resume", arguments.resume,
               "Go on with the newest whole checkpoint, if there is one, on any grid")
      ->group(group)
      ->needs(checkpoint);
  add("--resume-from", arguments.resume_from,
      "Go back to this step, or begin with the checkpoint at this path; later ones of the same "
      "directory are set aside. With --resume, once: started again, go on with the newest")
      ->needs(checkpoint);
  app.add_flag("--new-data", arguments.new_data,
               "Go on with other data than the run has read, from their beginning")
      ->group(group)
      ->excludes("--cluster");
  add("--keep", arguments.keep, "Newest checkpoints that stay; 0: all")
      ->needs(checkpoint)
      ->capture_default_str();
  add("--keep-every", arguments.keep_every, "Those of every so many steps stay for ever [none]")
      ->needs(checkpoint);
  add("--checkpoint-layout", arguments.checkpoint_layout,
      "sharded (a file per rank) | single (one file that all ranks write)")
      ->needs(checkpoint)
      ->capture_default_str();
}

// Where the other clusters are.
void add_link_flags(CLI::App& app, TrainArguments& arguments) {
  const auto add = [&](const char* name, auto& value, const std::string& help) {
    return app.add_option(name, value, help)->group(job_group);
  };
  auto& job = arguments.job;
  add("--certs", arguments.certificates, "This cluster's directory of trainctl certs");
  app.add_flag("--plaintext", arguments.plaintext, "No encryption; loopback addresses only")
      ->group(job_group);
  add("--listen", job.listen,
      "HOST:PORT for other clusters' lane 0, lane l at PORT + l [any port]");
  add("--advertise", job.advertise, "HOST:PORT of each lane, where others reach it [as --listen]")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("--outbound-only", job.outbound_only, "Others cannot reach this cluster: dial only")
      ->group(job_group);
  add("--streams", arguments.streams, "TLS streams of a link [by measurement]");
  add("--bandwidth-kbit", job.bandwidth_kbit, "Of this cluster, to share out work [measured]")
      ->check(at_least(0));
  add("--egress-price", arguments.egress_prices,
      "Dollars per GB that this cluster sends to others; NAME=DOLLARS for one of them")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add("--egress-budget", arguments.egress_budget_usd,
      "Leave the job before egress has cost so many dollars [never]")
      ->check(above_zero());
}

// What becomes of rounds, and how long others wait for this cluster.
void add_pace_flags(CLI::App& app, TrainArguments& arguments) {
  const auto add = [&](const char* name, auto& value, const std::string& help) {
    return app.add_option(name, value, help)->group(job_group);
  };
  auto& outer = arguments.rounds.outer;
  add("--round-seconds", arguments.round_seconds,
      "End this cluster's inner steps of a round after this time [never]")
      ->check(at_least(0));
  add("--outer-lr", outer.lr, "Of Nesterov's momentum on rounds")->capture_default_str();
  add("--outer-momentum", outer.momentum, "The same")->capture_default_str();
  add("--leave-notice", arguments.leave_notice_s, "Seconds from SIGTERM to the end")
      ->check(at_least(1))
      ->capture_default_str();
  add("--coordinator-timeout", arguments.coordinator_timeout_s,
      "Seconds to wait for a coordinator that is away")
      ->check(at_least(1))
      ->capture_default_str();
  add("--hang-timeout", arguments.hang_timeout_s,
      "Seconds without the end of a step, evaluation or save before others go on without this "
      "cluster")
      ->check(above_zero())
      ->capture_default_str();
}

void add_job_flags(CLI::App& app, TrainArguments& arguments) {
  auto& job = arguments.job;
  auto* cluster =
      app.add_option("--cluster", job.cluster, "This cluster's name in the job")->group(job_group);
  auto* coordinator =
      app.add_option("--coordinator", job.coordinator, "HOST:PORT of train_coordinator")
          ->group(job_group);
  cluster->needs(coordinator);
  coordinator->needs(cluster)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  // Without a job they would have no effect.
  add_needing(*cluster, app, [&] {
    add_link_flags(app, arguments);
    add_round_flags(app, arguments);
    add_pace_flags(app, arguments);
  });
}

void finish_job(TrainArguments& arguments) {
  auto& job = arguments.job;
  finish_rounds(arguments);
  job.leave_notice = std::chrono::seconds(arguments.leave_notice_s);
  job.patience = std::chrono::seconds(arguments.coordinator_timeout_s);
  job.hang_min = std::chrono::seconds(arguments.hang_timeout_s);
  job.insists = !arguments.resume_from.empty() && !arguments.resume;
  for (const std::string& price : arguments.egress_prices) job.egress.add_price(price);
  if (arguments.egress_budget_usd > 0.0) job.egress.budget_usd = arguments.egress_budget_usd;
  if (job.egress.budget_usd && arguments.checkpoint.empty()) {
    throw train::Error("--egress-budget needs --checkpoint: what was spent is kept there");
  }
  if (!arguments.checkpoint.empty()) {
    job.egress.ledger = std::filesystem::path(arguments.checkpoint) / "egress.json";
  }
  if (arguments.streams != 0) job.streams = arguments.streams;
  if (!arguments.certificates.empty()) job.certificates = arguments.certificates;
  if (arguments.in_job() && arguments.stop_after_minutes > 0.0) {
    throw train::Error(
        "--stop-after-minutes and --cluster exclude each other: SIGTERM has a cluster "
        "leave its job");
  }
  if (arguments.in_job() && arguments.certificates.empty() == !arguments.plaintext) {
    throw train::Error(
        "links between clusters need --certs DIR (launch/trainctl certs), or --plaintext, which "
        "works on loopback only");
  }
}

}  // namespace

std::optional<int> parse_train_arguments(const train::Job& job, TrainArguments& arguments) {
  CLI::App app("Trains a GPT on the ranks that mpirun started.", "train_gpt");
  app.footer(footer);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.set_config("--config", "", "TOML file of flags; those given beside it win");
  app.config_formatter(std::make_shared<TomlConfig>(app));
  add_data_flags(app, arguments);
  add_model_flags(app, arguments);
  add_parallel_flags(app, arguments);
  add_batch_flags(app, arguments);
  add_training_flags(app, arguments);
  add_output_flags(app, arguments);
  add_job_flags(app, arguments);
  add_checkpoint_flags(app, arguments);
  // The one has its own words below, and samples may begin with nothing.
  const std::vector<std::string> may_be_empty = {"--cluster", "--sample-prompt"};
  if (const auto status = parse_arguments(app, job, may_be_empty)) return status;
  arguments.seed_given = app.count("--seed") > 0;
  arguments.dropout_given = app.count("--dropout") > 0;
  arguments.model_given = app.count("--model") > 0;
  arguments.bias_given = app.count("--bias") > 0;
  if (app.count("--cluster") > 0 && !arguments.in_job()) {
    throw train::Error(
        "--cluster is empty: give this cluster a name, or leave --cluster and --coordinator out "
        "to train alone");
  }

  auto& schedule = arguments.trainer.schedule;
  schedule.kind = train::Schedule::parse_kind(arguments.schedule);
  schedule.lr = arguments.adamw.lr;
  schedule.min_lr =
      arguments.min_lr >= 0.0 ? static_cast<float>(arguments.min_lr) : arguments.adamw.lr / 10.0f;
  if (arguments.new_data && !arguments.goes_on()) {
    throw train::Error("--new-data needs --resume or --resume-from");
  }
  finish_job(arguments);
  return std::nullopt;
}

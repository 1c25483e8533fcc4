#include "examples/gpt/shape_arguments.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "examples/gpt/arguments.hpp"

void add_model_flags(CLI::App& app, TrainArguments& arguments) {
  app.add_option("--model", arguments.model,
                 fmt::format("{}, or sizes such as layers=6,heads=6,width=384 or "
                             "llama,layers=4,heads=4,kv_heads=2,width=128",
                             fmt::join(train::model_names(), " | ")))
      ->capture_default_str();
  app.add_option("--context", arguments.context, "Tokens in a sequence [the model's]")
      ->check(at_least(1));
  app.add_option("--vocab", arguments.vocabulary, "Vocabulary [the tokenizer's, or the model's]")
      ->check(at_least(1));
  app.add_option("--dropout", arguments.dropout, "On embeddings, attention and both branches")
      ->capture_default_str();
  app.add_option("--bias", arguments.bias,
                 "false: none in GPT-2 style linear layers and norms [true]; Llama style has none");
  app.add_option("--dtype", arguments.dtype, "f32 | bf16 (with f32 master weights)")
      ->capture_default_str();
}

void add_parallel_flags(CLI::App& app, TrainArguments& arguments) {
  app.add_option("--data-parallel", arguments.grid.data, "Data-parallel ranks [all]");
  app.add_option("--context-parallel", arguments.grid.context,
                 "Neighbouring ranks that share each sequence by its rows, for long contexts")
      ->capture_default_str();
  app.add_option("--tensor-parallel", arguments.grid.tensor,
                 "Ranks that share each copy of the model; neighbours")
      ->capture_default_str();
  app.add_option("--sequence-parallel", arguments.sequence_parallel,
                 "Tensor-parallel ranks share the rows between split layers too")
      ->capture_default_str();
  app.add_option("--zero", arguments.zero,
                 "ZeRO stage: data-parallel ranks share 1: optimizer state, 2: and gradients, 3: "
                 "and parameters")
      ->capture_default_str();
  app.add_option(
      "--zero-ranks", arguments.grid.shard,
      "Neighbouring data-parallel ranks that share it, as those of a node; each such group "
      "has all of it, and they sum gradients between them [all]");
  app.add_option("--zero3-resident", arguments.resident_elements,
                 "At stage 3, parameters of up to so many elements stay on every rank")
      ->capture_default_str();
  app.add_option("--grad-dtype", arguments.gradient_dtype, "f32 | bf16, of sums over ranks")
      ->capture_default_str();
  app.add_option("--recompute", arguments.recompute,
                 "none | attention | block: activations computed again in the backward pass")
      ->capture_default_str();
  app.add_option("--device", arguments.grid.device, "cpu | cuda: a GPU for each rank")
      ->capture_default_str();
  app.add_flag("--share-gpu", arguments.grid.share_gpu, "Let several ranks have one GPU (slower)");
  app.add_option_function<std::string>(
         "--sum-order",
         [&arguments](const std::string& text) {
           arguments.grid.sum_order = train::sum_order_from(text);
         },
         "fixed | any: how GPUs add up attention's gradients; any moves fewer bytes, and gives "
         "other "
         "bits each time. CPUs keep one order")
      ->default_str("fixed");
  app.add_option("--threads", arguments.grid.threads,
                 "Threads of a rank [the node's cores / its ranks]");
  app.add_option("--bucket-mib", arguments.bucket_mib,
                 "Gradients reduced together, MiB [25, at most a tenth of all]")
      ->check(at_least(1));
}

void add_batch_flags(CLI::App& app, TrainArguments& arguments) {
  constexpr std::int64_t sequences_max = std::int64_t{1} << 31;  // products stay within 64 bits
  auto& trainer = arguments.trainer;
  app.add_option("--batch", trainer.batch, "Sequences per step over all ranks")
      ->check(CLI::Range(std::int64_t{1}, sequences_max))
      ->capture_default_str();
  app.add_option("--micro-batch", trainer.micro_batch,
                 "Most sequences per rank and pass; gradients add up [batch / ranks]")
      ->check(CLI::Range(std::int64_t{0}, sequences_max));
}

void add_round_flags(CLI::App& app, TrainArguments& arguments) {
  const auto add = [&](const char* name, auto& value, const std::string& help) {
    return app.add_option(name, value, help)->group(job_group);
  };
  auto& rounds = arguments.rounds;
  add("--sync", arguments.synchronisation, "rounds (DiLoCo) | every-step")->capture_default_str();
  add("--inner-steps", rounds.inner_steps, "Steps between exchanges")->capture_default_str();
  add("--fragments", rounds.fragments,
      "Exchange the model in so many parts, at times of their own, each every --inner-steps")
      ->capture_default_str();
  add("--codec", arguments.codec, "none | bf16 | int8 | int4")->capture_default_str();
  add("--lanes", rounds.lanes, "Ranks of each cluster that exchange, each a part")
      ->capture_default_str();
  add("--overlap-rounds", rounds.overlap_steps,
      "Train on during exchanges; take them over after so many steps")
      ->capture_default_str();
}

void finish_rounds(TrainArguments& arguments) {
  auto& rounds = arguments.rounds;
  rounds.synchronisation = train::synchronisation_from(arguments.synchronisation);
  rounds.codec = train::wide::codec_of(arguments.codec);
  constexpr double round_seconds_max = 366.0 * 86400.0;
  if (!(arguments.round_seconds <= round_seconds_max)) {
    throw train::Error(
        fmt::format("--round-seconds {:g}: a round ends within a year; leave it out "
                    "for rounds that end by --inner-steps alone",
                    arguments.round_seconds));
  }
  rounds.round_time =
      std::chrono::milliseconds(static_cast<std::int64_t>(arguments.round_seconds * 1000.0));
  rounds = rounds.checked();
}

train::OptimizerOptions optimizer_options(const TrainArguments& arguments) {
  return {.zero = train::zero_from(arguments.zero),
          .bucket_bytes = arguments.bucket_mib << 20,
          .gradient_type = parse_dtype(arguments.gradient_dtype, "--grad-dtype"),
          .resident_elements = arguments.resident_elements,
          .moments = !arguments.in_job() ||
                     arguments.rounds.synchronisation == train::Synchronisation::rounds};
}

train::TrainingShape training_shape(const TrainArguments& arguments, const train::GptConfig& config,
                                    const train::GridShape& grid) {
  const auto passes =
      train::StepPasses::of(arguments.trainer.batch, grid.data, arguments.trainer.micro_batch);
  return {.config = config,
          .data = grid.data,
          .context = grid.context,
          .tensor = grid.tensor,
          .shard = grid.shard,
          .sequence_parallel = arguments.sequence_parallel,
          .type = parse_dtype(arguments.dtype),
          .recompute = train::recompute_from(arguments.recompute),
          .optimizer = optimizer_options(arguments),
          .sequences = passes.sequences,
          .passes = static_cast<int>(passes.count),
          .gpu = arguments.grid.device == "cuda"};
}

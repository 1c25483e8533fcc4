// Writes text with a model that train_gpt saved.
//
//   build/bin/generate_gpt --weights model.safetensors --prompt "Once" --tokens 200
//   build/bin/generate_gpt --checkpoint runs/a --prompt "Once" --tokens 200
//
// Prints the prompt and what the model adds, as it comes. --temperature 0 is deterministic.

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>

#include "examples/gpt/arguments.hpp"
#include "examples/gpt/sample_text.hpp"
#include "examples/gpt/starting_weights.hpp"
#include "libtrain/train.hpp"

namespace {

struct GenerateArguments {
  std::string weights;
  std::string prompt;
  std::int64_t tokens = 200;
  std::string tokenizer;
  std::string dtype = "f32";
  train::SamplingOptions sampling;
  train::GridOptions grid;
};

std::optional<int> parse(const train::Job& job, GenerateArguments& arguments) {
  CLI::App app("Writes text with a trained GPT.", "generate_gpt");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto* group = app.add_option_group("model", "What to write with: one of");
  group->add_option("--weights", arguments.weights, "A file that train_gpt --save-weights wrote");
  group->add_option("--checkpoint", arguments.weights,
                    "A checkpoint, or a directory of them: the newest");
  group->require_option(1);
  app.add_option("--prompt", arguments.prompt, "The text's beginning");
  app.add_option("--tokens", arguments.tokens, "Tokens to add")
      ->check(at_least(0))
      ->capture_default_str();
  app.add_option("--tokenizer", arguments.tokenizer,
                 "bytes | gpt2:FILE | hf:tokenizer.json [the one that was saved]");
  app.add_option("--temperature", arguments.sampling.temperature, "0: always the likeliest token")
      ->capture_default_str();
  app.add_option("--top-k", arguments.sampling.top_k, "Among the K likeliest tokens; 0: all")
      ->capture_default_str();
  app.add_option("--top-p", arguments.sampling.top_p,
                 "Among the fewest tokens that together reach this probability")
      ->capture_default_str();
  app.add_option("--seed", arguments.sampling.seed, "Of the draws")->capture_default_str();
  app.add_option("--dtype", arguments.dtype, "f32 | bf16")->capture_default_str();
  app.add_option("--tensor-parallel", arguments.grid.tensor, "Ranks that share the model")
      ->capture_default_str();
  app.add_option("--device", arguments.grid.device, "cpu | cuda: a GPU for each rank")
      ->capture_default_str();
  app.add_flag("--share-gpu", arguments.grid.share_gpu, "Let several ranks have one GPU (slower)");
  app.add_option("--threads", arguments.grid.threads, "[all cores]");
  return parse_arguments(app, job, {"--prompt"});
}

std::shared_ptr<const train::Tokenizer> choose_tokenizer(const GenerateArguments& arguments,
                                                         const StartingWeights& weights) {
  auto tokenizer = arguments.tokenizer.empty() ? weights.tokenizer()
                                               : train::make_tokenizer(arguments.tokenizer);
  if (tokenizer == nullptr) {
    throw train::Error(fmt::format(
        "{} holds no tokenizer: it was trained on token files; name one with --tokenizer",
        arguments.weights));
  }
  if (tokenizer->vocabulary_size() > weights.config().vocabulary) {
    throw train::Error(
        fmt::format("the tokenizer {} has {} tokens, the model {}; use the one "
                    "that the model was trained with",
                    tokenizer->name(), tokenizer->vocabulary_size(), weights.config().vocabulary));
  }
  return tokenizer;
}

void print_raw(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) {
    return;
  }
  throw train::Error(fmt::format("the text cannot be written: {}", std::strerror(errno)));
}

int generate_gpt(train::Job& job) {
  GenerateArguments arguments;
  if (const auto status = parse(job, arguments)) return *status;
  arguments.sampling.validate();
  StartingWeights weights(arguments.weights);
  const auto tokenizer = choose_tokenizer(arguments, weights);
  const train::Grid grid = job.grid(arguments.grid);
  train::Gpt model(weights.config(), grid.device(), {parse_dtype(arguments.dtype)});
  train::parallelize(model, grid, train::megatron_plan(/*sequence_parallel=*/false));
  weights.load(model);

  const std::vector<std::int32_t> prompt = prompt_tokens(*tokenizer, arguments.prompt, "--prompt");
  const std::int64_t added = std::min(arguments.tokens, model.config().context);
  train::Generator generator(model, arguments.sampling,
                             static_cast<std::int64_t>(prompt.size()) + added);
  generator.begin(prompt);
  if (job.is_root()) print_raw(arguments.prompt);
  for (std::int64_t i = 0; i < arguments.tokens; ++i) {
    const std::int32_t token = generator.next();
    if (tokenizer->is_end(token)) break;
    // The model's vocabulary may be padded past the tokenizer's, and that may have gaps.
    if (tokenizer->has_text(token) && job.is_root()) {
      print_raw(tokenizer->decode({&token, 1}));
    }
  }
  if (job.is_root()) print_raw("\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return train::run(argc, argv, generate_gpt);
}

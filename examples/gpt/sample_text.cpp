#include "examples/gpt/sample_text.hpp"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "libtrain/data/shown_text.hpp"

namespace {

std::string write(train::Gpt& model, const train::Tokenizer& tokenizer,
                  const std::vector<std::int32_t>& prompt, std::int64_t count,
                  const train::SamplingOptions& sampling) {
  train::Generator generator(model, sampling, static_cast<std::int64_t>(prompt.size()) + count);
  generator.begin(prompt);
  std::vector<std::int32_t> text;
  bool ended = false;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t token = generator.next();
    ended = ended || tokenizer.is_end(token);
    if (!ended && tokenizer.has_text(token)) text.push_back(token);
  }
  return tokenizer.decode(text);
}

}  // namespace

std::vector<std::int32_t> prompt_tokens(const train::Tokenizer& tokenizer, const std::string& text,
                                        const char* flag) {
  std::vector<std::int32_t> tokens = tokenizer.frame().before;
  try {
    const auto encoded = tokenizer.encode(text);
    tokens.insert(tokens.end(), encoded.begin(), encoded.end());
  } catch (const train::Error& error) {
    throw train::Error(fmt::format("{}: {}", flag, error.what()));
  }
  if (tokens.empty()) tokens.push_back(tokenizer.end_of_text().value_or(0));
  return tokens;
}

void add_samples(const TrainArguments& arguments, const train::Grid& grid, train::Gpt& model,
                 const train::TokenDataset& data, const Say& say, train::Trainer& trainer) {
  if (arguments.sample_every == 0) return;
  const auto tokenizer = data.tokenizer();
  if (tokenizer == nullptr) {
    throw train::Error("--sample-every: these data are tokens; name their --tokenizer");
  }
  const auto prompt = prompt_tokens(*tokenizer, arguments.sample_prompt, "--sample-prompt");
  if (std::ranges::max(prompt) >= model.config().vocabulary) {
    throw train::Error(
        fmt::format("--sample-prompt: the tokenizer {} makes token {} of it, the "
                    "model's vocabulary is {}",
                    tokenizer->name(), std::ranges::max(prompt), model.config().vocabulary));
  }
  trainer.sample_every(
      arguments.sample_every,
      [prompt, tokenizer, say, &model, rank = grid.rank(), begin = arguments.sample_prompt,
       count = arguments.sample_tokens, seed = arguments.seed](std::int64_t step) {
        const std::string text = write(model, *tokenizer, prompt, count, {.seed = seed});
        if (rank == 0)
          say(fmt::format("step {} writes: {}", step, train::shown_text(begin + text)));
      });
}

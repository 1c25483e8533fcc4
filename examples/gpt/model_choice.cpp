#include "examples/gpt/model_choice.hpp"

#include <fmt/format.h>

namespace {

train::GptConfig new_config(const TrainArguments& arguments, const train::TokenDataset& data) {
  train::GptConfig config = train::parse_model(arguments.model);
  if (arguments.context != 0) config.context = arguments.context;
  if (arguments.vocabulary != 0) {
    config.vocabulary = arguments.vocabulary;
  } else if (data.tokenizer() != nullptr) {
    config.vocabulary = data.tokenizer()->vocabulary_size();
  }
  config.bias = config.bias && arguments.bias;
  config.dropout = arguments.dropout;
  return config;
}

// --init brings its model; flags beside it may say what it is, but not change it.
void require_same_model(const TrainArguments& arguments, const train::TokenDataset& data,
                        const train::GptConfig& start) {
  train::GptConfig said = arguments.model_given ? new_config(arguments, data) : start;
  said.context = start.context;
  said.dropout = start.dropout;
  said.vocabulary = arguments.vocabulary != 0 ? arguments.vocabulary : start.vocabulary;
  said.bias = arguments.bias_given ? arguments.bias : start.bias;
  if (said == start) return;
  throw train::Error(fmt::format(
      "--init {} is another model than --model, --vocab and --bias say: its {}; leave them out",
      arguments.init, start.difference_from(said)));
}

}  // namespace

std::shared_ptr<const train::Tokenizer> saved_tokenizer(const std::optional<StartingWeights>& start,
                                                        const std::optional<train::RunState>& run) {
  if (run) return run->tokenizer;
  return start ? start->tokenizer() : nullptr;
}

train::GptConfig choose_config(const TrainArguments& arguments, const train::TokenDataset& data,
                               const std::optional<StartingWeights>& start,
                               const std::optional<train::RunState>& run) {
  train::GptConfig config;
  if (run && !arguments.model_given) {
    config = run->config;
  } else {
    config = start ? start->config() : new_config(arguments, data);
  }
  if (start) require_same_model(arguments, data, start->config());
  config.dropout = arguments.dropout;
  if (!run) return config;
  train::GptConfig saved = run->config;
  saved.dropout = config.dropout;
  if (config != saved) {
    throw train::Error(
        fmt::format("the run that goes on trains another model than the flags (--model, --context, "
                    "--vocab, --bias) and the tokenizer make: its {}; leave them out, or begin "
                    "another run in another --checkpoint",
                    saved.difference_from(config)));
  }
  return config;
}

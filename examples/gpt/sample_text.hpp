#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/gpt/train_arguments.hpp"
#include "examples/gpt/train_reports.hpp"

/// Text that models write.

/// What the model reads first: one token at least. Throws Error naming the flag that gave a text
/// that the tokenizer refuses.
std::vector<std::int32_t> prompt_tokens(const train::Tokenizer& tokenizer, const std::string& text,
                                        const char* flag);

/// With --sample-every, has rank 0 say from time to time what the model writes. All ranks write it
/// together, whatever grid and stage: always as many tokens, so that none waits for others. Throws
/// Error when the data have no tokenizer, or the prompt has tokens that the model lacks.
void add_samples(const TrainArguments& arguments, const train::Grid& grid, train::Gpt& model,
                 const train::TokenDataset& data, const Say& say, train::Trainer& trainer);

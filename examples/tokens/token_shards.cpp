// Turns texts into token shards, so that training reads tokens instead of making them in every
// process at every start.
//
//   build/bin/token_shards --data 'corpus/**/*.txt' --tokenizer gpt2:gpt2_tokenizer.bin
//                          --out shards --val-fraction 0.01
//   mpirun … build/bin/train_gpt --data 'shards/train_*.bin' --val-data 'shards/val_*.bin'
//                                --tokenizer gpt2:gpt2_tokenizer.bin …

#include "libtrain/data/token_shards.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/flags/parse_flags.hpp"
#include "collectives/standard_streams.hpp"
#include "libtrain/data/file_patterns.hpp"
#include "libtrain/data/mapped_file_fault.hpp"
#include "libtrain/data/source_patterns.hpp"

namespace {

struct Arguments {
  std::vector<std::string> data;
  std::string tokenizer;
  train::TokenShardOptions shards;
};

void warn_of_missing_ends(const train::Tokenizer& tokenizer,
                          const std::vector<std::string>& files) {
  if (train::marks_documents(tokenizer)) return;
  const auto texts = std::ranges::count_if(files, [](const std::string& path) {
    std::error_code unread;  // is told by who reads it
    return std::filesystem::file_size(path, unread) != 0;
  });
  if (texts < 2) return;
  train::log_line(
      fmt::format("warning: {} texts follow each other without a mark: the tokenizer {} has none",
                  texts, tokenizer.name()));
}

void refuse_weights(const std::vector<std::string>& data) {
  const auto weight = std::ranges::find_if(data, train::is_weight);
  if (weight == data.end()) return;
  throw train::Error(
      fmt::format("'{}': shards are made of one source at a time, each into its own "
                  "--out; weights are given to train_gpt, with the shards",
                  *weight));
}

int token_shards(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Turns texts into token shards of llm.c.", "token_shards");
  app.add_option("--data", arguments.data, "Texts: files, directories, globs")->required();
  app.add_option("--tokenizer", arguments.tokenizer, "bytes | gpt2:FILE | hf:tokenizer.json")
      ->required();
  app.add_option("--out", arguments.shards.directory, "Directory for train_*.bin and val_*.bin")
      ->required();
  app.add_option("--shard-tokens", arguments.shards.tokens_max, "Tokens in a shard")
      // Of signed numbers: to CLI11, -5 is a large one of the others.
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{train::TokenShardOptions::tokens_limit}))
      ->capture_default_str();
  app.add_option("--val-fraction", arguments.shards.validation_fraction,
                 "Share of the text, from its end, for val_*.bin")
      ->capture_default_str();
  if (const auto status = train::parse_flags(app, argc, argv)) return *status;
  refuse_weights(arguments.data);
  const train::MappedFileFault fault;
  const auto tokenizer = train::make_tokenizer(arguments.tokenizer);
  warn_of_missing_ends(*tokenizer, train::find_files(arguments.data));
  std::uint64_t tokens = 0;
  const std::size_t left_out = train::write_token_shards(
      arguments.data, *tokenizer, arguments.shards, [&](const train::TokenShard& shard) {
        fmt::print("wrote {} ({} tokens)\n", shard.path, shard.tokens);
        std::fflush(stdout);
        tokens += shard.tokens;
      });
  if (left_out > 0) train::log_line(fmt::format("note: empty files are left out: {}", left_out));
  fmt::print("{} tokens of a vocabulary of {}\n", tokens, tokenizer->vocabulary_size());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  train::occupy_standard_descriptors();
  try {
    const int status = token_shards(argc, argv);
    train::flush_standard_output();
    return status;
  } catch (const std::exception& error) {
    train::log_line(fmt::format("error: {}", error.what()));
    return 2;
  }
}

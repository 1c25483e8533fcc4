#include "libtrain/data/token_shards.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/file_patterns.hpp"
#include "libtrain/data/llmc_shard.hpp"
#include "libtrain/data/mapped_file.hpp"
#include "libtrain/data/sources/text_files.hpp"

namespace train {
namespace {

namespace fs = std::filesystem;

constexpr const char* train_name = "train";
constexpr const char* validation_name = "val";

/// Collects tokens, and writes a shard whenever one is full.
class Shards {
 public:
  Shards(const char* name, LlmcFormat format, const TokenShardOptions& options,
         const std::function<void(const TokenShard&)>& written)
      : name_(name), format_(format), options_(options), written_(written) {}

  void add(std::span<const std::int32_t> tokens) {
    while (!tokens.empty()) {
      const auto room = static_cast<std::size_t>(options_.tokens_max) - tokens_.size();
      const auto part = tokens.first(std::min(room, tokens.size()));
      tokens_.insert(tokens_.end(), part.begin(), part.end());
      tokens = tokens.subspan(part.size());
      if (part.size() == room) write();
    }
  }

  /// What is left.
  void finish() {
    if (!tokens_.empty()) write();
  }

 private:
  void write() {
    const fs::path path =
        fs::path(options_.directory) / fmt::format("{}_{:06}.bin", name_, count_++);
    write_llmc_shard(path.string(), tokens_, format_);
    written_({path.string(), tokens_.size()});
    tokens_.clear();
  }

  const char* name_;
  LlmcFormat format_;
  const TokenShardOptions& options_;
  const std::function<void(const TokenShard&)>& written_;
  std::vector<std::int32_t> tokens_;
  int count_ = 0;
};

void check(const TokenShardOptions& options) {
  constexpr std::uint64_t most = TokenShardOptions::tokens_limit;
  if (options.tokens_max < 1 || options.tokens_max > most) {
    throw Error(fmt::format("shards of {} tokens; llm.c's hold 1 to {}", options.tokens_max, most));
  }
  if (!(options.validation_fraction >= 0.0 && options.validation_fraction < 1.0)) {
    throw Error(fmt::format("a share of {} to validate with; it must be at least 0 and below 1",
                            options.validation_fraction));
  }
}

/// Others' shards beside the new ones would be trained on as well.
void prepare_directory(const fs::path& directory) {
  std::error_code failed;
  fs::create_directories(directory, failed);
  if (failed || !fs::is_directory(directory, failed)) {
    throw Error(fmt::format("'{}' cannot be made a directory: {}", directory.string(),
                            failed ? failed.message() : "it is a file"));
  }
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name.starts_with(fmt::format("{}_", train_name)) ||
                      name.starts_with(fmt::format("{}_", validation_name));
    if (!ours || entry.path().extension() != ".bin") continue;
    throw Error(
        fmt::format("'{}' holds shards already ({}); name another directory, or remove them",
                    directory.string(), name));
  }
}

/// Bytes of all texts, without those that are empty; none is of another format.
std::uint64_t check_texts(std::vector<std::string>& paths) {
  const std::vector<std::string> found = std::move(paths);
  paths.clear();
  std::uint64_t bytes = 0;
  for (const std::string& path : found) {
    if (looks_like_llmc_shard(path)) {
      throw Error(fmt::format("'{}' is a token shard already; texts become shards", path));
    }
    const MappedFile text(path);
    if (!detail::is_text(text)) continue;
    paths.push_back(path);
    bytes += text.bytes().size();
  }
  detail::require_text(found, paths.size());
  return bytes;
}

/// The first `bytes` of a text and what its last line needs.
std::string_view head_of(std::string_view text, std::uint64_t bytes) {
  if (bytes == 0) return {};
  if (bytes >= text.size()) return text;
  const std::size_t line = text.find('\n', bytes - 1);
  return text.substr(0, line == std::string_view::npos ? text.size() : line + 1);
}

std::vector<std::int32_t> tokens_of(const Tokenizer& tokenizer, std::string_view text,
                                    const std::string& path) {
  try {
    auto tokens = encode_document(tokenizer, text);
    if (const auto separator = document_separator(tokenizer)) tokens.push_back(*separator);
    return tokens;
  } catch (const Error& error) {
    throw Error(fmt::format("'{}': {}", path, error.what()));
  }
}

}  // namespace

std::size_t write_token_shards(const std::vector<std::string>& patterns, const Tokenizer& tokenizer,
                               const TokenShardOptions& options,
                               const std::function<void(const TokenShard&)>& written) {
  check(options);
  auto paths = find_files(patterns);
  const std::size_t found = paths.size();
  const std::uint64_t bytes = check_texts(paths);
  prepare_directory(options.directory);
  const LlmcFormat format =
      tokenizer.vocabulary_size() > 1 << 16 ? LlmcFormat::llama3 : LlmcFormat::gpt2;
  Shards train(train_name, format, options, written);
  Shards validation(validation_name, format, options, written);
  auto left =
      static_cast<std::uint64_t>(static_cast<double>(bytes) * (1.0 - options.validation_fraction));
  if (options.validation_fraction == 0.0) left = bytes;
  for (const std::string& path : paths) {
    const MappedFile file(path);
    const std::string_view head = head_of(file.text(), left);
    const std::string_view tail = file.text().substr(head.size());
    if (!head.empty()) train.add(tokens_of(tokenizer, head, path));
    if (!tail.empty()) validation.add(tokens_of(tokenizer, tail, path));
    left -= std::min<std::uint64_t>(left, head.size());
    if (!tail.empty()) left = 0;
  }
  train.finish();
  validation.finish();
  return found - paths.size();
}

}  // namespace train

#include "libtrain/data/token_shards.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/file_patterns.hpp"
#include "libtrain/data/llmc_shard.hpp"
#include "libtrain/data/mapped_file.hpp"
#include "libtrain/data/sources/file_kind.hpp"
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

/// Files of other kinds would become shards of their bytes, which nothing would tell.
void refuse_others(const std::string& path) {
  const detail::FileKind file = detail::kind_of_file(path);
  if (file.kind == DataKind::text) return;
  if (looks_like_llmc_shard(path)) {
    throw Error(fmt::format("'{}' is a token shard already; texts become shards", path));
  }
  if (file.kind == DataKind::megatron) {
    throw Error(
        fmt::format("'{}' is of a Megatron data set, '{}': it holds tokens already, and is "
                    "trained on as it is; texts become shards",
                    path, file.path));
  }
  throw Error(fmt::format(
      "'{}' is not text, as its name ends in .bin; texts become shards, of any other name", path));
}

struct Text {
  std::string path;
  std::uint64_t bytes = 0;
  std::uint64_t head = 0;  ///< of these, to train with
};

/// The files that are not empty; none is of another format.
std::vector<Text> find_texts(const std::vector<std::string>& paths) {
  std::vector<Text> texts;
  for (const std::string& path : paths) {
    refuse_others(path);
    const MappedFile text(path);
    const std::uint64_t bytes = text.bytes().size();
    if (detail::is_text(text)) texts.push_back({path, bytes, bytes});
  }
  detail::require_text(paths, texts.size());
  return texts;
}

/// Where to cut a text at about `at`, which lies within it: behind a line or at the text's end
/// where that is at most `near` bytes behind, else behind a space, else between two characters.
std::uint64_t cut_near(std::string_view text, std::uint64_t at, std::uint64_t near) {
  if (at == 0) return 0;
  const auto behind = [&](std::string_view characters) {
    const std::size_t found = text.find_first_of(characters, at - 1);
    return found == std::string_view::npos ? text.size() : found + 1;
  };
  const std::uint64_t line = behind("\n");
  if (line - at <= near) return line;
  const std::uint64_t word = behind(" \t");
  if (word - at <= near) return word;
  const auto continues = [&] { return (static_cast<unsigned char>(text[at]) & 0xc0u) == 0x80u; };
  for (int i = 0; i < 3 && at < text.size() && continues(); ++i) ++at;
  return at;
}

/// Holds out the share, from the end of all texts.
void hold_out(std::vector<Text>& texts, double share) {
  if (share == 0.0) return;
  std::uint64_t total = 0, train = 0;
  for (const Text& text : texts) total += text.bytes;
  auto left = static_cast<std::uint64_t>(static_cast<double>(total) * (1.0 - share));
  const std::uint64_t near = (total - left) / 4;
  for (Text& text : texts) {
    if (left < text.bytes) {
      text.head = cut_near(MappedFile(text.path).text().substr(0, text.bytes), left, near);
      left = 0;
    } else {
      left -= text.bytes;
    }
    train += text.head;
  }
  if (train > 0 && train < total) return;
  throw Error(fmt::format(
      "--val-fraction {} of {} bytes of text leaves nothing to {} with; give more "
      "text, or a {} share",
      share, total, train == 0 ? "train" : "validate", train == 0 ? "smaller" : "larger"));
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
  const auto paths = find_files(patterns);
  auto texts = find_texts(paths);
  hold_out(texts, options.validation_fraction);
  prepare_directory(options.directory);
  const LlmcFormat format =
      tokenizer.vocabulary_size() > 1 << 16 ? LlmcFormat::llama3 : LlmcFormat::gpt2;
  Shards train(train_name, format, options, written);
  Shards validation(validation_name, format, options, written);
  for (const Text& text : texts) {
    const MappedFile file(text.path);
    const std::string_view head = file.text().substr(0, text.head);
    const std::string_view tail = file.text().substr(head.size());
    if (!head.empty()) train.add(tokens_of(tokenizer, head, text.path));
    if (!tail.empty()) validation.add(tokens_of(tokenizer, tail, text.path));
  }
  train.finish();
  validation.finish();
  return paths.size() - texts.size();
}

}  // namespace train

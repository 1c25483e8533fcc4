#include "libtrain/data/tokenizers/gpt2_files.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "libtrain/data/mapped_file.hpp"
#include "libtrain/data/tokenizers/byte_level.hpp"
#include "libtrain/data/tokenizers/vocabulary.hpp"

namespace train::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::int32_t kLlmcMagic = 20240328;
constexpr std::size_t kLlmcHeaderBytes = 1024;
constexpr std::string_view kEndOfText = "<|endoftext|>";

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw Error(fmt::format("cannot read the tokenizer '{}': {}", path, what));
}

void set_end_of_text(BpeModel& model, std::int32_t id) {
  model.end_of_text = id;
  model.special.push_back({std::string(kEndOfText), id});
}

std::int32_t word_at(std::string_view data, std::size_t index) {
  std::int32_t word;
  std::memcpy(&word, data.data() + index * sizeof(word), sizeof(word));
  return word;
}

bool is_llmc(std::string_view data) {
  return data.size() >= sizeof(kLlmcMagic) && word_at(data, 0) == kLlmcMagic;
}

/// llm.c's gpt2_tokenizer.bin: each token's bytes. GPT-2 numbers its tokens in the order of its
/// merges, so the merges follow from the bytes.
void read_llmc(const MappedFile& file, BpeModel& model) {
  const std::string_view data = file.text();
  if (data.size() < kLlmcHeaderBytes) fail(file.path(), "it ends within its header");
  const std::int32_t version = word_at(data, 1);
  const std::int32_t count = word_at(data, 2);
  if (version != 1 && version != 2) {
    fail(file.path(), fmt::format("its version is {}, expected 1 or 2", version));
  }
  std::size_t at = kLlmcHeaderBytes;
  for (std::int32_t id = 0; id < count; ++id) {
    const std::size_t length = at < data.size() ? static_cast<unsigned char>(data[at]) : 0;
    if (length == 0 || data.size() - at - 1 < length) {
      fail(file.path(), fmt::format("it ends or is damaged at token {} of {}", id, count));
    }
    model.tokens.emplace_back(data.substr(at + 1, length));
    at += 1 + length;
  }
  if (count <= 0 || at != data.size()) {
    fail(file.path(),
         fmt::format("{} tokens take {} bytes, but the file has {}", count, at, data.size()));
  }
  const std::int32_t end_of_text = version == 1 ? count - 1 : word_at(data, 3);
  if (end_of_text < 0 || end_of_text >= count) {
    fail(file.path(),
         fmt::format("its end-of-text id {} is not below its {} tokens", end_of_text, count));
  }
  std::vector<std::int32_t> order(model.tokens.size());
  std::iota(order.begin(), order.end(), 0);
  order.erase(order.begin() + end_of_text);
  model.merges = recover_merges(model.tokens, order);
  model.tokens[static_cast<std::size_t>(end_of_text)].clear();
  set_end_of_text(model, end_of_text);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

/// r50k_base.tiktoken: lines of base64 and rank.
void read_tiktoken(const MappedFile& file, BpeModel& model) {
  constexpr std::int32_t kMostTokens = 50'256;
  for (const std::string_view line : lines_of(file.text())) {
    const std::size_t space = line.find(' ');
    const auto bytes = decode_base64(line.substr(0, space));
    std::int32_t rank = -1;
    if (space != std::string_view::npos) {
      std::from_chars(line.data() + space + 1, line.data() + line.size(), rank);
    }
    if (!bytes || bytes->empty() || rank < 0) {
      fail(file.path(),
           fmt::format("the line '{}' is not a base64 token and its rank", line.substr(0, 80)));
    }
    if (rank >= kMostTokens) {
      fail(file.path(), fmt::format("rank {} is beyond GPT-2's {} tokens: this is a later "
                                    "vocabulary with another pattern; use hf:tokenizer.json",
                                    rank, kMostTokens));
    }
    if (!put_token(model.tokens, rank, *bytes)) {
      fail(file.path(), fmt::format("two tokens have the rank {}", rank));
    }
  }
  if (model.tokens.empty()) fail(file.path(), "it holds no tokens");
  std::vector<std::int32_t> order(model.tokens.size());
  std::iota(order.begin(), order.end(), 0);
  model.merges = recover_merges(model.tokens, order);
  model.whole_pieces = true;  // as tiktoken does
  set_end_of_text(model, static_cast<std::int32_t>(model.tokens.size()));
}

/// vocab.json or encoder.json, if there is one beside the merges.
bool read_vocabulary(const fs::path& folder, Vocabulary& vocabulary) {
  for (const char* name : {"vocab.json", "encoder.json"}) {
    const fs::path path = folder / name;
    std::error_code ignored;
    if (!fs::exists(path, ignored)) continue;
    const MappedFile file(path.string());
    try {
      vocabulary.read(nlohmann::json::parse(file.text()));
    } catch (const nlohmann::json::exception& error) {
      fail(file.path(), error.what());
    } catch (const Error& error) {
      fail(file.path(), error.what());
    }
    return true;
  }
  return false;
}

/// merges.txt or vocab.bpe: "left right" per line in the visible alphabet, the strongest first.
void read_merges(const MappedFile& file, BpeModel& model) {
  if (file.text().starts_with('{')) {
    fail(file.path(),
         fmt::format("it is JSON, as Hugging Face's files are; use hf:{}", file.path()));
  }
  auto lines = lines_of(file.text());
  if (!lines.empty() && lines[0].starts_with("#version")) lines.erase(lines.begin());
  if (lines.empty()) fail(file.path(), "it holds no merges");
  Vocabulary vocabulary;
  const bool numbered = read_vocabulary(fs::path(file.path()).parent_path(), vocabulary);
  if (!numbered) {
    for (const char byte : byte_level_order()) vocabulary.append(to_byte_level({&byte, 1}));
  }
  try {
    for (const std::string_view line : lines) {
      const std::size_t space = line.find(' ');
      if (space == std::string_view::npos) {
        throw Error(fmt::format("the line '{}' is not a pair of tokens", line.substr(0, 80)));
      }
      const std::string left(line.substr(0, space));
      const std::string right(line.substr(space + 1));
      if (!numbered) vocabulary.append(left + right);
      vocabulary.add_merge(left, right, model.merges);
    }
  } catch (const Error& error) {
    fail(file.path(), error.what());
  }
  const auto known = vocabulary.find(std::string(kEndOfText));
  model.tokens = vocabulary.tokens();
  if (known) model.tokens[static_cast<std::size_t>(*known)].clear();
  set_end_of_text(model, known.value_or(static_cast<std::int32_t>(model.tokens.size())));
}

/// The file to read: `path`, or what is in the folder or belongs to the vocab.json named.
std::string find_file(const std::string& path) {
  std::error_code ignored;
  const fs::path given(path);
  const bool names_ids = given.filename() == "vocab.json" || given.filename() == "encoder.json";
  if (!fs::is_directory(given, ignored) && !names_ids) return path;
  const fs::path folder = names_ids ? given.parent_path() : given;
  for (const char* name : {"merges.txt", "vocab.bpe", "gpt2_tokenizer.bin", "r50k_base.tiktoken"}) {
    if (fs::exists(folder / name, ignored)) return (folder / name).string();
  }
  fail(path, "there is no merges.txt, vocab.bpe, gpt2_tokenizer.bin or r50k_base.tiktoken");
}

}  // namespace

BpeModel read_gpt2(const std::string& path) {
  const MappedFile file(find_file(path));
  BpeModel model;
  model.name = "gpt2:" + path;
  model.splits.emplace_back(std::string(kGpt2Pattern));
  if (is_llmc(file.text())) {
    read_llmc(file, model);
  } else if (fs::path(file.path()).extension() == ".tiktoken") {
    read_tiktoken(file, model);
  } else if (fs::path(file.path()).extension() == ".bin") {
    fail(path, fmt::format("it does not begin with llm.c's magic number {}", kLlmcMagic));
  } else {
    read_merges(file, model);
  }
  return model;
}

}  // namespace train::detail

#include "libtrain/data/open_data.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/file_patterns.hpp"
#include "libtrain/data/llmc_shard.hpp"
#include "libtrain/data/megatron_source.hpp"
#include "libtrain/data/sources/concatenated_source.hpp"
#include "libtrain/data/sources/text_source.hpp"

namespace train {
namespace {

namespace fs = std::filesystem;
using Sources = std::vector<std::shared_ptr<const TokenSource>>;

struct Files {
  DataKind kind = DataKind::text;
  std::vector<std::string> paths;  // of a Megatron pair: the .idx
};

const char* name_of(DataKind kind) {
  switch (kind) {
    case DataKind::llmc_shards:
      return "a token shard of llm.c";
    case DataKind::megatron:
      return "a Megatron data set";
    case DataKind::text:
      return "text";
  }
  unreachable("kind of data");
}

std::pair<DataKind, std::string> classify(const std::string& path) {
  const fs::path file(path);
  if (file.extension() == ".idx") return {DataKind::megatron, path};
  if (looks_like_llmc_shard(path)) return {DataKind::llmc_shards, path};
  if (file.extension() != ".bin") return {DataKind::text, path};
  const fs::path index = fs::path(file).replace_extension(".idx");
  std::error_code ignored;
  if (fs::exists(index, ignored)) return {DataKind::megatron, index.string()};
  return {DataKind::llmc_shards, path};  // whose reader says what is wrong with it
}

Files find_data(const std::vector<std::string>& patterns) {
  if (patterns.empty()) throw Error("no data: give a file, a folder or a pattern with --data");
  Files files;
  for (const std::string& found : find_files(patterns)) {
    const auto [kind, path] = classify(found);
    if (files.paths.empty()) files.kind = kind;
    if (kind != files.kind) {
      throw Error(fmt::format(
          "data of two kinds: '{}' is {}, '{}' is {}; train on one kind, or name the files of one",
          files.paths.front(), name_of(files.kind), path, name_of(kind)));
    }
    const bool known = kind == DataKind::megatron && std::ranges::count(files.paths, path) > 0;
    if (!known) files.paths.push_back(path);
  }
  return files;
}

std::vector<MappedFile> map_texts(const std::vector<std::string>& paths) {
  std::vector<MappedFile> texts;
  for (const std::string& path : paths) {
    texts.emplace_back(path);
    if (texts.back().bytes().empty()) throw Error(fmt::format("'{}' is empty", path));
  }
  return texts;
}

Sources tokenize(std::vector<MappedFile> texts, const Tokenizer& tokenizer) {
  Sources sources;
  const std::int32_t separator = document_separator(tokenizer).value_or(-1);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const bool last = i + 1 == texts.size();
    sources.push_back(tokenizer.name() == "bytes"
                          ? detail::make_byte_source(std::move(texts[i]))
                          : detail::make_text_source(texts[i], tokenizer, last ? -1 : separator));
  }
  return sources;
}

/// The characters of all texts.
std::shared_ptr<const Tokenizer> make_char_tokenizer_of(const std::vector<MappedFile>& texts) {
  std::string characters;
  for (const MappedFile& text : texts) {
    try {
      const std::shared_ptr<const Tokenizer> one = make_char_tokenizer(text.text());
      for (std::int32_t id = 0; id < one->vocabulary_size(); ++id) {
        characters += one->decode({&id, 1});
      }
    } catch (const Error& error) {
      throw Error(fmt::format("'{}': {}", text.path(), error.what()));
    }
  }
  return make_char_tokenizer(characters);
}

Data open_tokens(const Files& files, std::shared_ptr<const Tokenizer> tokenizer) {
  Sources sources;
  for (const std::string& path : files.paths) {
    sources.push_back(files.kind == DataKind::megatron ? open_megatron(path)
                                                       : open_llmc_shard(path));
  }
  return {detail::concatenate(std::move(sources)), std::move(tokenizer), files.kind};
}

Data open_texts(std::vector<MappedFile> texts, std::shared_ptr<const Tokenizer> tokenizer) {
  const std::size_t unmarked = texts.size() > 1 && !marks_documents(*tokenizer) ? texts.size() : 0;
  auto source = detail::concatenate(tokenize(std::move(texts), *tokenizer));
  return {std::move(source), std::move(tokenizer), DataKind::text, unmarked};
}

}  // namespace

Data open_data(const std::vector<std::string>& patterns, std::string_view tokenizer) {
  const Files files = find_data(patterns);
  if (files.kind == DataKind::text) {
    auto texts = map_texts(files.paths);
    auto made = tokenizer == "chars"
                    ? make_char_tokenizer_of(texts)
                    : make_tokenizer(tokenizer.empty() ? std::string_view("bytes") : tokenizer);
    return open_texts(std::move(texts), std::move(made));
  }
  if (tokenizer == "chars") {
    throw Error(fmt::format("--tokenizer chars needs text, but '{}' is {}", files.paths.front(),
                            name_of(files.kind)));
  }
  return open_tokens(files, tokenizer.empty() ? nullptr : make_tokenizer(tokenizer));
}

Data open_data(const std::vector<std::string>& patterns,
               std::shared_ptr<const Tokenizer> tokenizer) {
  if (!tokenizer) return open_data(patterns);
  const Files files = find_data(patterns);
  if (files.kind != DataKind::text) return open_tokens(files, std::move(tokenizer));
  return open_texts(map_texts(files.paths), std::move(tokenizer));
}

}  // namespace train

#include "libtrain/data/open_data.hpp"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/file_patterns.hpp"
#include "libtrain/data/llmc_shard.hpp"
#include "libtrain/data/megatron_source.hpp"
#include "libtrain/data/source_patterns.hpp"
#include "libtrain/data/sources/concatenated_source.hpp"
#include "libtrain/data/sources/file_kind.hpp"
#include "libtrain/data/sources/text_files.hpp"
#include "libtrain/data/sources/text_source.hpp"
#include "libtrain/data/token_probe.hpp"

namespace train {
namespace {

namespace fs = std::filesystem;
using Sources = std::vector<std::shared_ptr<const TokenSource>>;

/// A source that was found, and is not open yet.
struct Files {
  SourcePatterns said;
  DataKind kind = DataKind::text;
  std::vector<std::string> paths;  // of a Megatron pair: the .idx
  std::vector<MappedFile> texts;   // of text: those with content
};

std::vector<MappedFile> map_texts(const std::vector<std::string>& paths) {
  std::vector<MappedFile> texts;
  for (const std::string& path : paths) {
    MappedFile text(path);
    if (detail::is_text(text)) texts.push_back(std::move(text));
  }
  detail::require_text(paths, texts.size());
  return texts;
}

Files find_source(SourcePatterns said) {
  Files files;
  for (const std::string& found : find_files(said.patterns)) {
    const auto [kind, path] = detail::kind_of_file(found);
    if (files.paths.empty()) files.kind = kind;
    if (kind != files.kind) {
      throw Error(fmt::format(
          "data of two kinds: '{}' is {}, '{}' is {}; train on one kind, or name the files of one",
          files.paths.front(), detail::name_of(files.kind), path, detail::name_of(kind)));
    }
    const bool known = kind == DataKind::megatron && std::ranges::count(files.paths, path) > 0;
    if (!known) files.paths.push_back(path);
  }
  files.said = std::move(said);
  return files;
}

/// What one source holds out, the other would train on.
void refuse_shared_files(const std::vector<Files>& sources) {
  std::map<fs::path, std::string> owners;
  for (const Files& source : sources) {
    for (const std::string& path : source.paths) {
      const auto [owner, is_new] = owners.emplace(file_identity(path), source.said.name);
      if (is_new || owner->second == source.said.name) continue;
      throw Error(fmt::format(
          "'{}' is in the sources {} and {} of a mixture: leave it to one, and raise its weight",
          path, owner->second, source.said.name));
    }
  }
}

std::vector<Files> find_data(const std::vector<std::string>& patterns) {
  if (patterns.empty()) throw Error("no data: give a file, a folder or a pattern with --data");
  std::vector<Files> sources;
  for (SourcePatterns& said : split_sources(patterns)) {
    sources.push_back(find_source(std::move(said)));
  }
  refuse_shared_files(sources);
  for (Files& source : sources) {
    if (source.kind == DataKind::text) source.texts = map_texts(source.paths);
  }
  return sources;
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
std::shared_ptr<const Tokenizer> make_char_tokenizer_of(const std::vector<Files>& sources) {
  std::string characters;
  const auto add = [&](const MappedFile& text) {
    try {
      const std::shared_ptr<const Tokenizer> one = make_char_tokenizer(text.text());
      for (std::int32_t id = 0; id < one->vocabulary_size(); ++id) {
        characters += one->decode({&id, 1});
      }
    } catch (const Error& error) {
      throw Error(fmt::format("'{}': {}", text.path(), error.what()));
    }
  };
  for (const Files& source : sources) std::ranges::for_each(source.texts, add);
  return make_char_tokenizer(characters);
}

std::shared_ptr<const Tokenizer> choose_tokenizer(const std::vector<Files>& sources,
                                                  std::string_view asked_for) {
  const auto is_text = [](const Files& source) { return source.kind == DataKind::text; };
  const auto text = std::ranges::find_if(sources, is_text);
  const auto tokens = std::ranges::find_if_not(sources, is_text);
  const bool has_text = text != sources.end();
  const bool has_tokens = tokens != sources.end();
  if (asked_for == "chars" && has_tokens) {
    throw Error(fmt::format("--tokenizer chars needs text, but '{}' is {}", tokens->paths.front(),
                            detail::name_of(tokens->kind)));
  }
  if (asked_for.empty() && has_text && has_tokens) {
    throw Error(
        fmt::format("the mixture's '{}' is text, '{}' is {}: name the tokenizer that the "
                    "tokens were made with (--tokenizer), for the text",
                    text->paths.front(), tokens->paths.front(), detail::name_of(tokens->kind)));
  }
  if (asked_for == "chars") return make_char_tokenizer_of(sources);
  if (!asked_for.empty()) return make_tokenizer(asked_for);
  return has_text ? make_tokenizer("bytes") : nullptr;
}

Sources open_tokens(const Files& files) {
  Sources sources;
  for (const std::string& path : files.paths) {
    sources.push_back(files.kind == DataKind::megatron ? open_megatron(path)
                                                       : open_llmc_shard(path));
  }
  return sources;
}

/// What there is to tell that tokens are not the tokenizer's.
void check_ids(const TokenSource& source, const Tokenizer& tokenizer) {
  probe_tokens(source, 0, source.size(), [&](std::uint64_t begin, auto ids) {
    const auto largest = std::ranges::max_element(ids);
    if (*largest < tokenizer.vocabulary_size()) return;
    const auto place = begin + static_cast<std::uint64_t>(largest - ids.begin());
    throw Error(
        fmt::format("{}: found id {}, but the tokenizer '{}' has {} ids, and is that of "
                    "all data; make the tokens again with it, or give theirs with "
                    "--tokenizer",
                    source.place(place), *largest, tokenizer.name(), tokenizer.vocabulary_size()));
  });
}

/// Without a tokenizer, only llm.c's formats say whose tokens they hold.
void check_formats(const Sources& shards) {
  if (shards.empty()) return;
  const auto bound = [](const auto& shard) { return shard->vocabulary_bound(); };
  const auto [gpt2, llama3] = std::ranges::minmax_element(shards, {}, bound);
  if (bound(*gpt2) == bound(*llama3)) return;
  throw Error(fmt::format(
      "{} holds token ids of 16 bits (GPT-2's format), {} of 32 (Llama-3's): a model needs the "
      "tokens of one tokenizer; make them again with one, or name it with --tokenizer to have "
      "their ids compared with it",
      (*gpt2)->name(), (*llama3)->name()));
}

bool is_of_one_format(const Sources& files) {
  return std::ranges::adjacent_find(files, std::not_equal_to{}, [](const auto& file) {
           return file->vocabulary_bound();
         }) == files.end();
}

Data open(std::vector<Files> found, std::shared_ptr<const Tokenizer> tokenizer) {
  Data data;
  Sources shards;
  for (Files& files : found) {
    const std::size_t texts = files.texts.size();
    if (files.kind == DataKind::text) data.empty_texts += files.paths.size() - texts;
    if (texts > 1 && !marks_documents(*tokenizer)) data.unmarked_texts += texts;
    auto parts = files.kind == DataKind::text ? tokenize(std::move(files.texts), *tokenizer)
                                              : open_tokens(files);
    if (files.kind == DataKind::llmc_shards)
      shards.insert(shards.end(), parts.begin(), parts.end());
    const bool mixed = found.size() > 1 || !is_of_one_format(parts);
    auto tokens = detail::concatenate(std::move(parts));
    if (mixed && files.kind != DataKind::text && tokenizer != nullptr) {
      check_ids(*tokens, *tokenizer);
    }
    data.sources.push_back(
        {std::move(tokens), files.kind, std::move(files.said.name), files.said.weight});
  }
  if (tokenizer == nullptr) check_formats(shards);
  data.tokenizer = std::move(tokenizer);
  return data;
}

}  // namespace

Data open_data(const std::vector<std::string>& patterns, std::string_view tokenizer) {
  auto found = find_data(patterns);
  auto chosen = choose_tokenizer(found, tokenizer);
  return open(std::move(found), std::move(chosen));
}

Data open_data(const std::vector<std::string>& patterns,
               std::shared_ptr<const Tokenizer> tokenizer) {
  if (!tokenizer) return open_data(patterns);
  return open(find_data(patterns), std::move(tokenizer));
}

}  // namespace train

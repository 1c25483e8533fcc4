#include "libtrain/data/source_patterns.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

constexpr std::string_view kWeight = "weight=";
constexpr std::string_view kName = ",name=";

std::optional<double> number_in(std::string_view text) {
  double number = 0.0;
  const auto [end, failed] = std::from_chars(text.begin(), text.end(), number);
  if (failed != std::errc() || end != text.end()) return std::nullopt;
  return number;
}

bool can_be_name(std::string_view text) {
  const auto fits = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; };
  return !text.empty() && std::ranges::all_of(text, fits);
}

/// A source without files yet. Its name is its number unless the word has one.
SourcePatterns source_of(std::string_view word, std::size_t number) {
  const std::size_t comma = word.find(kName);
  const bool named = comma != std::string_view::npos;
  const auto weight = number_in(word.substr(kWeight.size(), comma - kWeight.size()));
  SourcePatterns source{.name = std::string(named ? word.substr(comma + kName.size()) : ""),
                        .weight = weight.value_or(0.0),
                        .patterns = {}};
  if (!named) source.name = fmt::format("{}", number);
  if (!weight || !can_be_name(source.name)) {
    throw Error(
        fmt::format("'{}' is no weight: expected weight=NUMBER or weight=NUMBER,name=WORD, "
                    "of letters, digits, - and _, before a source's files",
                    word));
  }
  if (!(source.weight > 0.0) || !std::isfinite(source.weight)) {
    throw Error(fmt::format("'{}': a weight is a positive, finite number", word));
  }
  return source;
}

void check_file(const std::string& word) {
  std::error_code ignored;
  if (!number_in(word) || std::filesystem::exists(word, ignored)) return;
  throw Error(fmt::format(
      "there is no file or folder '{0}'; a source's weight is written weight={0}, before its files",
      word));
}

void check(const std::vector<SourcePatterns>& sources) {
  for (auto source = sources.begin(); source != sources.end(); ++source) {
    if (source->patterns.empty()) {
      throw Error(
          fmt::format("the weight {} has no files behind it: name the source's files, or "
                      "leave the weight out",
                      source->weight));
    }
    if (std::any_of(sources.begin(), source,
                    [&](const auto& other) { return other.name == source->name; })) {
      throw Error(fmt::format("two sources are called {}: give each a name of its own, or none",
                              source->name));
    }
  }
}

}  // namespace

bool is_weight(std::string_view word) {
  return word.starts_with(kWeight);
}

std::vector<SourcePatterns> split_sources(const std::vector<std::string>& words) {
  std::vector<SourcePatterns> sources;
  bool weighted = false;
  for (const std::string& word : words) {
    if (!is_weight(word)) {
      check_file(word);
      if (sources.empty()) sources.push_back({.name = "1", .weight = 1.0, .patterns = {}});
      sources.back().patterns.push_back(word);
      continue;
    }
    if (!weighted && !sources.empty()) {
      throw Error(
          fmt::format("'{}' has no weight, but '{}' behind it is one: give each source its "
                      "own, before its files, or none at all",
                      sources.front().patterns.front(), word));
    }
    weighted = true;
    sources.push_back(source_of(word, sources.size() + 1));
  }
  check(sources);
  return sources;
}

}  // namespace train

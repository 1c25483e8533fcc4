#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/scratch_directory.hpp"

namespace train::test {

/// A text and the ids that Hugging Face's tokenizers make of it.
struct GoldenCase {
  std::string text;
  std::vector<std::int32_t> ids;
};

inline std::string golden_path(const std::string& name) {
  return std::string(TOKENIZER_GOLDEN_FOLDER) + "/" + name;
}

inline nlohmann::json golden_document(const std::string& name) {
  return nlohmann::json::parse(read_file(golden_path(name + ".json")));
}

inline std::vector<GoldenCase> golden_cases(const std::string& name) {
  std::vector<GoldenCase> cases;
  const auto document = nlohmann::json::parse(read_file(golden_path(name + ".expected.json")));
  for (const auto& entry : document) {
    cases.push_back({entry.at("text"), entry.at("ids").get<std::vector<std::int32_t>>()});
  }
  return cases;
}

}  // namespace train::test

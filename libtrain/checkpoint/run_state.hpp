#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "libtrain/data/tokenizer.hpp"
#include "libtrain/model/gpt_config.hpp"

namespace train {

/// How far a run has read its data.
struct DataPlace {
  std::uint64_t sequences = 0;  ///< the place in the sample order
  std::uint64_t tokens = 0;     ///< trained so far, also of data before these

  bool operator==(const DataPlace&) const = default;
};

/// The checkpoint that a run was told to go on from, in place of its newest.
struct ResumedFrom {
  std::int64_t step = 0;
  std::string run = {};  ///< whose it is, as a path; "": the run's own

  bool operator==(const ResumedFrom&) const = default;
};

/// What goes with the tensors of a training run: the JSON object of its checkpoints.
struct RunState {
  GptConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;  ///< may be null
  std::uint64_t seed = 0;                      ///< of weights, dropout and sample order
  std::string data = {};                       ///< what is read: TokenDataset::identity()
  std::string held_out = {};                   ///< TokenDataset::held_out(); "": not known
  DataPlace place = {};
  std::optional<ResumedFrom> resumed_from = {};  ///< the last time that it was told so
  /// JSON texts of whoever else has something to keep, by key.
  std::map<std::string, std::string> more = {};

  std::string to_json() const;
  /// Throws Error naming `checkpoint` when the text is not what to_json() wrote.
  static RunState from_json(const std::string& text, const std::filesystem::path& checkpoint);
};

}  // namespace train

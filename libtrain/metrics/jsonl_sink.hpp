#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "libtrain/checkpoint/file.hpp"
#include "libtrain/metrics/sink.hpp"

namespace train {

/// One record as a JSON object without a line end. Keys are the members' names; val_loss is there
/// only where the record has one. Numbers carry the 24 bits that a float has, in the fewest digits
/// that read back the same; NaN and infinities, which JSON lacks, are null.
std::string to_json(const StepRecord& record);

/// A file with one JSON object per step, whole on disk (for other processes) after each write().
class JsonlSink final : public MetricsSink {
 public:
  enum class Existing : std::uint8_t {
    truncate,  ///< a new run: what the file held is dropped
    append,    ///< a resumed run: lines are added; a torn last line (a killed run) is dropped
  };

  /// Makes missing directories. Throws Error with path and errno if the file cannot be written.
  JsonlSink(const std::filesystem::path& path, Existing existing);

  void write(const StepRecord& record) override;

 private:
  File file_;
};

}  // namespace train

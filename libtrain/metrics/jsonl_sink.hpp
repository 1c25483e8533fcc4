#pragma once

#include <filesystem>
#include <string>

#include "libtrain/checkpoint/file.hpp"
#include "libtrain/metrics/sink.hpp"

namespace train {

/// One record as a JSON object without a line end. Keys are the members' names; val_loss is there
/// only where the record has one, and val_loss_NAME for each source of a mixture. Numbers carry the
/// 24 bits that a float has, in the fewest digits that read back the same; NaN and infinities,
/// which JSON lacks, are null.
std::string to_json(const StepRecord& record);

/// A file with one JSON object per step, whole on disk (for other processes) after each write().
class JsonlSink final : public MetricsSink {
 public:
  /// When its first record comes, a new run empties the file; one that goes on drops the lines of
  /// that step and later ones, which are trained again, and one that a kill tore. Until then the
  /// file stays as it is: the run may still be refused. Makes missing directories. Throws Error
  /// with path and errno if the file cannot be written.
  explicit JsonlSink(const std::filesystem::path& path, bool goes_on = false);

  /// A line that the disk did not take whole is taken back.
  void write(const StepRecord& record) override;

 private:
  File file_;
  bool goes_on_;
  bool cuts_;  // before the first record
};

}  // namespace train

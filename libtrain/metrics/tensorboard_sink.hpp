#pragma once

#include <filesystem>

#include "libtrain/checkpoint/file.hpp"
#include "libtrain/metrics/sink.hpp"

namespace train {

/// Event files for TensorBoard (`tensorboard --logdir DIRECTORY`). Each run adds a file of its own
/// to the directory, so a resumed run continues the curves. Tags are the names that JSONL uses.
/// Format: TFRecord frames around tensorflow.Event protobufs (tensorflow/core/util/event.proto).
class TensorBoardSink final : public MetricsSink {
 public:
  /// Makes the directory. A run that goes on has TensorBoard forget, with its first record, that
  /// step and later ones of before, which are trained again. Throws Error with path and errno if no
  /// file can be made there.
  explicit TensorBoardSink(const std::filesystem::path& directory, bool goes_on = false);

  void write(const StepRecord& record) override;
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  File file_;
  bool cuts_;  // before the first record
};

}  // namespace train

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "libtrain/checkpoint/file.hpp"
#include "libtrain/metrics/sink.hpp"

namespace train {

/// Event files for TensorBoard (`tensorboard --logdir DIRECTORY`). Each run adds a file of its own
/// to the directory, so a resumed run continues the curves. Tags are the names that JSONL uses.
/// Format: TFRecord frames around tensorflow.Event protobufs (tensorflow/core/util/event.proto).
class TensorBoardSink final : public MetricsSink {
 public:
  /// Makes the directory. A run that is resumed behind a step has TensorBoard forget the later
  /// ones, which will be trained again. Throws Error with path and errno if no file can be made
  /// there.
  explicit TensorBoardSink(const std::filesystem::path& directory,
                           std::optional<std::int64_t> resumed_at = {});

  void write(const StepRecord& record) override;
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  File file_;
};

}  // namespace train

#pragma once

#include <cstdint>

namespace train {

/// How a data rank's share of a step's batch goes through the model.
struct StepPasses {
  std::int64_t sequences = 1;  ///< of each pass
  std::int64_t count = 1;

  /// As many passes of at most `micro_batch` (0: any) sequences as the largest share takes, and as
  /// small as so many can be.
  static StepPasses of(std::int64_t batch, std::int64_t data_ranks, std::int64_t micro_batch) {
    const auto divided_up = [](std::int64_t value, std::int64_t by) {
      return (value + by - 1) / by;
    };
    const std::int64_t most = divided_up(batch, data_ranks);
    const std::int64_t wanted = divided_up(most, micro_batch == 0 ? most : micro_batch);
    const std::int64_t sequences = divided_up(most, wanted);
    return {sequences, divided_up(most, sequences)};
  }
};

}  // namespace train

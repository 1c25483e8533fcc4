#pragma once

#include <cstdint>
#include <optional>

#include "libtrain/model/gpt_config.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"

namespace train {

/// Bytes of parameters, gradients and optimizer state that stay on one rank between steps, by the
/// formulas of parallel/README.md. Activations, buckets under way, and what stage 3 keeps whole
/// come on top.
std::int64_t state_bytes_per_rank(const GptConfig& config, DataType type,
                                  const OptimizerOptions& options, int data_ranks,
                                  int tensor_ranks);

/// What programs may still take of this machine's memory, or of what a container may have of it;
/// nothing where the system does not say.
std::optional<std::int64_t> available_host_bytes();

}  // namespace train

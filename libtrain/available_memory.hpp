#pragma once

#include <cstdint>
#include <optional>

namespace train {

/// What programs may still take of this machine's memory, or of what a container may have of it;
/// nothing where the system does not say.
std::optional<std::int64_t> available_host_bytes();

}  // namespace train

#pragma once

#include <cstdint>
#include <string_view>

namespace train {

/// In which order a device may add up. `fixed` gives the same bits each time. `any` moves fewer
/// bytes on GPUs whose cuDNN has such kernels for attention's backward pass: parts of a query's
/// gradient are added as they finish, so that results differ by rounding from run to run. Nothing
/// else changes: CPUs, and whatever has no such kernel, keep one order.
enum class SumOrder : std::uint8_t { fixed, any };

/// Of --sum-order's words. Throws Error for others.
SumOrder sum_order_from(std::string_view text);

}  // namespace train

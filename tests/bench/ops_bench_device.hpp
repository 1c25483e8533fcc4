#pragma once

#include <functional>

#include "libtrain/ops/device.hpp"
#include "tests/bench/ops_bench_machine.hpp"

namespace train::bench {

/// Median seconds of a call that gives work to a device and returns: of several runs of as many
/// calls as take some milliseconds, each run waited for.
double median_seconds_on(const Device& device, const std::function<void()>& call);

/// A GPU: matrix products by its data sheet, and the rate of copies of 256 MiB within its memory,
/// read and written bytes together.
Machine measure_device(const Device& device, DataType type);

}  // namespace train::bench

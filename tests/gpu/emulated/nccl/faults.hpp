#pragma once

#include <functional>

// What tests do to the emulated NCCL.
namespace emulated {

/// From now on (until undone) kernels of NCCL on this device do not take part, as if the rank's
/// process had died or its GPU hung. They end when they are aborted.
void nccl_stall(int device, bool stalled);
/// Communicators of this device that live now report that another rank is lost.
void nccl_lose_peer(int device);
/// Calls `then` once, on the thread that launches, when the next launch of a communicator of this
/// device is in its stream.
void nccl_at_launch(int device, std::function<void()> then);
/// What NCCL says it is from now on.
void nccl_version(int version);
/// Communicators that were made and neither destroyed nor aborted.
int nccl_live();

}  // namespace emulated

#pragma once

#include <cstddef>
#include <vector>

#include <nccl.h>

namespace emulated {

enum class NcclKind { all_reduce, reduce, reduce_scatter, all_gather, broadcast, send, receive };

/// One call of one rank. `count` is the caller's.
struct NcclCall {
  NcclKind kind = NcclKind::all_reduce;
  const std::byte* send = nullptr;
  std::byte* receive = nullptr;
  std::size_t count = 0;
  ncclDataType_t type = ncclUint8;
  ncclRedOp_t op = ncclSum;
  int peer = 0;  ///< or root
};

std::size_t nccl_width(ncclDataType_t type);
/// What `rank` gets from a collective in which rank r made calls[r]; empty if it gets nothing.
std::vector<std::byte> nccl_result(const std::vector<NcclCall>& calls, int rank);
/// Whether a call's buffers, if any, lie in one block of device memory each, apart or in place.
bool nccl_accepts(const NcclCall& call, int rank, int ranks);

}  // namespace emulated

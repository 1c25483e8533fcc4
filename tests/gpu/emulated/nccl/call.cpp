#include "tests/gpu/emulated/nccl/call.hpp"

#include <cmath>
#include <cstring>
#include <type_traits>

#include "collectives/types.hpp"
#include "tests/gpu/emulated/runtime/fail.hpp"
#include "tests/gpu/emulated/runtime/memory.hpp"

namespace emulated {
namespace {

using train::BFloat16;

template <typename T>
T combine(ncclRedOp_t op, T a, T b) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    // Each hop of a ring rounds.
    return BFloat16(combine(op, static_cast<float>(a), static_cast<float>(b)));
  } else if constexpr (std::is_floating_point_v<T>) {
    // fmin and fmax drop NaN, as NCCL's do.
    return op == ncclSum ? a + b : op == ncclMin ? std::fmin(a, b) : std::fmax(a, b);
  } else {
    using U = std::make_unsigned_t<T>;
    if (op == ncclSum) return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    return op == ncclMin ? (b < a ? b : a) : (b > a ? b : a);
  }
}

// As a ring does: the block that rank b ends up with starts its round at the rank after b.
template <typename T>
std::vector<std::byte> reduce(const std::vector<NcclCall>& calls, std::size_t first,
                              std::size_t count, std::size_t total) {
  const std::size_t ranks = calls.size();
  std::vector<T> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t block = (first + i) * ranks / total;
    for (std::size_t hop = 0; hop < ranks; ++hop) {
      T value;
      const auto& call = calls[(block + 1 + hop) % ranks];
      std::memcpy(&value, call.send + (first + i) * sizeof(T), sizeof(T));
      out[i] = hop == 0 ? value : combine(calls[0].op, out[i], value);
    }
  }
  std::vector<std::byte> bytes(count * sizeof(T));
  if (count > 0) std::memcpy(bytes.data(), out.data(), bytes.size());
  return bytes;
}

std::vector<std::byte> reduce(const std::vector<NcclCall>& calls, std::size_t first,
                              std::size_t count, std::size_t total) {
  switch (calls[0].type) {
    case ncclUint8:
      return reduce<std::uint8_t>(calls, first, count, total);
    case ncclInt32:
      return reduce<std::int32_t>(calls, first, count, total);
    case ncclInt64:
      return reduce<std::int64_t>(calls, first, count, total);
    case ncclFloat32:
      return reduce<float>(calls, first, count, total);
    case ncclFloat64:
      return reduce<double>(calls, first, count, total);
    case ncclBfloat16:
      return reduce<BFloat16>(calls, first, count, total);
  }
  fail("NCCL: a type of no use here");
}

bool in_device_memory(const void* data, std::size_t bytes) {
  return bytes == 0 || (is_device_memory(data) && in_block(data, bytes));
}

bool apart(const std::byte* a, std::size_t a_bytes, const std::byte* b, std::size_t b_bytes) {
  return a_bytes == 0 || b_bytes == 0 || a + a_bytes <= b || b + b_bytes <= a;
}

}  // namespace

std::size_t nccl_width(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return 1;
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclFloat64:
      return 8;
  }
  fail("NCCL: a type of no use here");
}

std::vector<std::byte> nccl_result(const std::vector<NcclCall>& calls, int rank) {
  const auto& own = calls[static_cast<std::size_t>(rank)];
  const std::size_t bytes = own.count * nccl_width(own.type);
  const std::size_t ranks = calls.size();
  switch (own.kind) {
    case NcclKind::all_reduce:
      return reduce(calls, 0, own.count, own.count);
    case NcclKind::reduce:
      if (rank != own.peer) return {};
      return reduce(calls, 0, own.count, own.count);
    case NcclKind::reduce_scatter:
      return reduce(calls, static_cast<std::size_t>(rank) * own.count, own.count,
                    own.count * ranks);
    case NcclKind::all_gather: {
      std::vector<std::byte> all;
      for (const auto& call : calls) all.insert(all.end(), call.send, call.send + bytes);
      return all;
    }
    case NcclKind::broadcast: {
      const auto* source = calls[static_cast<std::size_t>(own.peer)].send;
      return {source, source + bytes};
    }
    case NcclKind::send:
    case NcclKind::receive:
      break;
  }
  fail("NCCL: messages are no collectives");
}

bool nccl_accepts(const NcclCall& call, int rank, int ranks) {
  const bool has_root = call.kind != NcclKind::all_reduce && call.kind != NcclKind::all_gather &&
                        call.kind != NcclKind::reduce_scatter;
  if (has_root && (call.peer < 0 || call.peer >= ranks)) return false;
  const std::size_t bytes = call.count * nccl_width(call.type);
  const std::size_t all = bytes * static_cast<std::size_t>(ranks);
  const std::size_t own = bytes * static_cast<std::size_t>(rank);
  std::size_t sent = bytes, received = bytes;
  bool in_place = call.send == call.receive;
  if (call.kind == NcclKind::reduce_scatter) {
    sent = all;
    in_place = call.receive == call.send + own;
  } else if (call.kind == NcclKind::all_gather) {
    received = all;
    in_place = call.send == call.receive + own;
  } else if (call.kind == NcclKind::receive) {
    sent = 0;
  } else if (call.kind == NcclKind::send) {
    received = 0;
  } else if (call.kind == NcclKind::broadcast && rank != call.peer) {
    sent = 0;
  } else if (call.kind == NcclKind::reduce && rank != call.peer) {
    received = 0;
  }
  return in_device_memory(call.send, sent) && in_device_memory(call.receive, received) &&
         (in_place || apart(call.send, sent, call.receive, received));
}

}  // namespace emulated

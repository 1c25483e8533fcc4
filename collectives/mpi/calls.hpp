#pragma once

#include <cstddef>

#include <mpi.h>

#include "collectives/unique_handle.hpp"

namespace train::mpi {

struct CommTraits {
  using Handle = MPI_Comm;
  static Handle empty() { return MPI_COMM_NULL; }
  static void close(Handle comm) noexcept { MPI_Comm_free(&comm); }
};
using Comm = UniqueHandle<CommTraits>;

/// The C calls, each wrapped once. They throw Error with the call's name and MPI's own words.
/// Lengths are bytes; longer transfers are cut by the caller.
inline constexpr std::size_t message_bytes_max = std::size_t{1} << 28;

int rank_of(MPI_Comm comm);
int size_of(MPI_Comm comm);
/// The largest tag that `comm` takes.
int tag_max(MPI_Comm comm);
/// A new context with the same ranks whose errors return. Collective.
Comm duplicate(MPI_Comm comm);
/// `color` may be MPI_UNDEFINED: an empty handle. Collective.
Comm split(MPI_Comm comm, int color, int key);
/// The ranks that share this node's memory. Collective.
Comm split_by_node(MPI_Comm comm, int key);
MPI_Request isend(MPI_Comm comm, const void* data, std::size_t bytes, int peer, int tag);
MPI_Request irecv(MPI_Comm comm, void* data, std::size_t bytes, int peer, int tag);
/// True, and the request null, when it is complete.
bool test(MPI_Request& request);

/// Throws Error unless `code` is MPI_SUCCESS.
void check(int code, const char* call);

}  // namespace train::mpi

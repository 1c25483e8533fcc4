#pragma once

#include <cstdint>

#include "collectives/mpi/channel.hpp"
#include "collectives/mpi/requests.hpp"
#include "collectives/ordered/operation.hpp"

namespace train::mpi {

/// Waits until `requests` are complete. Throws Error at the operation's deadline, naming the peers
/// that are behind.
void await(Channel& channel, const detail::Operation& operation, Requests& requests);

// The data movement of each collective, once all ranks agreed on it. All return the bytes that
// this rank sent.

/// Reduce-scatter over even blocks, then all-gather, chunk by chunk: while one chunk is reduced,
/// the next is received and the last is handed out.
std::uint64_t all_reduce(Channel& channel, const detail::Operation& operation);
std::uint64_t reduce_scatter(Channel& channel, const detail::Operation& operation);
/// Every rank sends its block to every other.
std::uint64_t all_gather(Channel& channel, const detail::Operation& operation);
/// The root gives every other rank a share of a segment, which that one passes on to the rest
/// while the next segment comes.
std::uint64_t broadcast(Channel& channel, const detail::Operation& operation);
/// Every rank sends each other its block.
std::uint64_t all_to_all(Channel& channel, const detail::Operation& operation);

}  // namespace train::mpi

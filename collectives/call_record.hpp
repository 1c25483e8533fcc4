#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "collectives/types.hpp"
#include "collectives/work.hpp"

namespace train {

/// One collective that ended well, as this rank saw it. The calls of one group take turns: each
/// begins after the one before has ended.
struct CallRecord {
  std::string_view group;      ///< lives as long as its communicator
  std::string_view operation;  ///< "all_reduce", …; lives as long as the program
  /// Elements of the whole message (all_to_all: of what this rank sends) and their type; barrier
  /// and split have none, and say 0 and u8.
  std::size_t count = 0;
  DataType type = DataType::u8;
  std::uint64_t bytes_sent = 0;   ///< payload that left this rank, as in Traffic
  std::uint64_t sequence = 0;     ///< counts the group's collectives from 0
  Clock::time_point called = {};  ///< when the user asked
  Clock::time_point began = {};   ///< when it reached the head of the queue
  Clock::time_point ended = {};   ///< began to ended includes the wait for late ranks
};

}  // namespace train

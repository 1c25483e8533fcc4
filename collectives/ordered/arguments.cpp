#include "collectives/ordered/arguments.hpp"

#include <functional>
#include <limits>
#include <span>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/ordered/blocks.hpp"

namespace train::detail {
namespace {

class Checker {
 public:
  Checker(const Membership& who, const Operation& operation) : who_(who), call_(operation) {}

  void check() const {
    switch (call_.kind) {
      case Kind::all_reduce:
        return check_all_reduce();
      case Kind::reduce_scatter:
        return check_reduce_scatter();
      case Kind::all_gather:
        return check_all_gather();
      case Kind::broadcast:
        return check_broadcast();
      case Kind::all_to_all:
        return check_all_to_all();
      case Kind::barrier:
        return;
      case Kind::split:
        require(call_.color >= -1, "color {} is negative; only -1 (no group) may be", call_.color);
        return;
    }
    unreachable("unknown Kind");
  }

 private:
  template <typename... Args>
  void require(bool holds, fmt::format_string<Args...> text, Args&&... args) const {
    if (holds) return;
    throw Error(fmt::format("{} on rank {} of group '{}': {}", name_of(call_.kind), who_.rank,
                            who_.group, fmt::format(text, std::forward<Args>(args)...)));
  }

  void check_all_reduce() const {
    check_buffers();
    require(call_.send.count == call_.receive.count, "send has {} elements, receive has {}",
            call_.send.count, call_.receive.count);
    check_overlap(0);
  }

  void check_reduce_scatter() const {
    check_buffers();
    check_blocks(call_.counts, call_.send.count, "counts", "send");
    check_own_block(call_.receive.count, "receive");
    check_overlap(own_offset());
  }

  void check_all_gather() const {
    check_buffers();
    check_blocks(call_.counts, call_.receive.count, "counts", "receive");
    check_own_block(call_.send.count, "send");
    check_overlap(own_offset());
  }

  void check_broadcast() const {
    require(call_.root >= 0 && call_.root < who_.size, "root {} is no rank of {}", call_.root,
            who_.size);
    check_buffers();
  }

  void check_all_to_all() const {
    check_buffers();
    check_blocks(call_.counts, call_.send.count, "send_counts", "send");
    check_blocks(call_.receive_counts, call_.receive.count, "receive_counts", "receive");
    require(disjoint(), "send and receive overlap; it cannot work in place");
  }

  void check_buffers() const {
    require(call_.send.type == call_.receive.type, "send is {}, receive is {}",
            name_of(call_.send.type), name_of(call_.receive.type));
    require(call_.send.data || call_.send.count == 0, "send is null but has {} elements",
            call_.send.count);
    require(call_.receive.data || call_.receive.count == 0, "receive is null but has {} elements",
            call_.receive.count);
  }

  void check_blocks(std::span<const std::size_t> counts, std::size_t total, const char* name,
                    const char* buffer) const {
    require(counts.size() == static_cast<std::size_t>(who_.size), "{} has {} entries for {} ranks",
            name, counts.size(), who_.size);
    std::size_t sum = 0;
    for (const auto count : counts) {
      require(count <= std::numeric_limits<std::size_t>::max() - sum, "{} overflow", name);
      sum += count;
    }
    require(sum == total, "{} add up to {} elements, {} has {}", name, sum, buffer, total);
  }

  void check_own_block(std::size_t count, const char* buffer) const {
    const auto own = call_.counts[static_cast<std::size_t>(who_.rank)];
    require(count == own, "{} has {} elements, counts[{}] is {}", buffer, count, who_.rank, own);
  }

  // Where this rank's block begins in the larger buffer, in bytes.
  std::size_t own_offset() const {
    return offsets_of(call_.counts)[static_cast<std::size_t>(who_.rank)] * size_of(call_.send.type);
  }

  bool disjoint() const {
    const std::byte* receive = call_.receive.data;
    const std::less_equal<const std::byte*> before;
    return call_.send.count == 0 || call_.receive.count == 0 ||
           before(call_.send.data + call_.send.bytes(), receive) ||
           before(receive + call_.receive.bytes(), call_.send.data);
  }

  // In place, the smaller buffer is this rank's block of the larger one.
  void check_overlap(std::size_t offset) const {
    const std::byte* receive = call_.receive.data;
    const bool in_place = call_.kind == Kind::all_gather ? call_.send.data == receive + offset
                                                         : receive == call_.send.data + offset;
    require(in_place || disjoint(),
            "send and receive overlap in part; they must be apart or exactly in place");
  }

  const Membership& who_;
  const Operation& call_;
};

}  // namespace

void check_arguments(const Membership& who, const Operation& operation) {
  Checker(who, operation).check();
}

void check_message(const Membership& who, const char* call, ConstBuffer buffer, int peer, int tag) {
  const auto refuse = [&](const std::string& text) {
    throw Error(fmt::format("{} on rank {} of group '{}': {}", call, who.rank, who.group, text));
  };
  if (peer < 0 || peer >= who.size) refuse(fmt::format("peer {} is no rank of {}", peer, who.size));
  if (tag < 0 || tag >= tag_limit) {
    refuse(fmt::format("tag {} is outside 0..{}", tag, tag_limit - 1));
  }
  if (!buffer.data && buffer.count > 0) {
    refuse(fmt::format("buffer is null but has {} elements", buffer.count));
  }
}

}  // namespace train::detail

#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <utility>

#include "collectives/wide/protocol/messages.hpp"

namespace train::wide {

/// Well-formed messages with random contents. Numbers are small, so that they often fit together.
class RandomMessages {
 public:
  explicit RandomMessages(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t below(std::uint64_t limit) { return engine_() % limit; }
  ExchangeId id() { return {below(4), below(4), static_cast<std::uint32_t>(below(3))}; }
  std::string name() { return std::to_string(below(4)).insert(0, 1, 'c'); }
  Identity identity() { return {name(), below(3)}; }
  RangeSet ranges() {
    RangeSet set;
    for (std::uint64_t i = below(4); i > 0; --i) {
      const std::uint64_t begin = below(60);
      set.add({begin, begin + below(9)});
    }
    return set;
  }
  StateInfo state() { return {id(), below(3), {below(80), ranges()}}; }

  /// Any message, or only one that members say.
  Message message(bool of_members = false) {
    switch (below(of_members ? 10 : std::variant_size_v<Message>)) {
      case 0:
        return hello();
      case 1:
        return Heartbeat{below(99)};
      case 2:
        return Links{{{name(), 7}, {name(), 9}}};
      case 3:
        return LeaseRequest{below(4), below(30)};
      case 4:
        return Ready{id(), below(99), 3, below(3), ranges(), below(9)};
      case 5:
        return Done{id(), below(3)};
      case 6:
        return Failed{id(), below(2) == 0 ? name() : ""};
      case 7:
        return Holds{state()};
      case 8:
        return FetchFailed{id(), name()};
      case 9:
        return Leave{below(9'000)};
      case 10:
        return Directory{id(), {{identity(), {{"a:1", "a:2"}, 2}, below(3), below(4)}}};
      case 11:
        return Lease{below(4), ranges(), below(2) == 0};
      case 12:
        return Finish{below(4), below(4)};
      case 13:
        return Start{id(), {{identity(), 5, 0}, {identity(), 6, 700}}};
      case 14:
        return Abort{id()};
      case 15:
        return Commit{state(), below(2) == 0};
      case 16:
        return Fetch{state(), identity()};
      case 17:
        return Beat{below(99)};
      case 18:
        return Released{below(2) == 0, below(2) == 0};
      case 19:
        return Refused{"because"};
      default:
        return Notice{"wait"};
    }
  }
  Hello hello() {
    Hello hello{1, 0, identity(), {{"here:1"}, 1}, state(), {}, below(3)};
    if (below(3) == 0) hello.pending = id();
    if (below(2) == 0) hello.committed = {};
    return hello;
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace train::wide

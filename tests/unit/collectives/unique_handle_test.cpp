#include "collectives/unique_handle.hpp"

#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace train {
namespace {

/// Handles are indices; closing counts.
struct Counted {
  using Handle = std::vector<int>*;
  static Handle empty() { return nullptr; }
  static void close(Handle handle) noexcept { ++handle->front(); }
};
using Owner = UniqueHandle<Counted>;

}  // namespace

TEST_CASE("a handle is closed once, by its last owner") {
  std::vector<int> closed{0};
  {
    Owner first(&closed);
    Owner second(std::move(first));
    CHECK_FALSE(first);
    Owner third;
    third = std::move(second);
    CHECK(third.get() == &closed);
    CHECK(closed[0] == 0);
  }
  CHECK(closed[0] == 1);
}

TEST_CASE("assignment closes what was held; to itself it does nothing") {
  std::vector<int> old{0}, next{0};
  Owner owner(&old);
  owner = Owner(&next);
  CHECK(old[0] == 1);
  auto& same = owner;
  owner = std::move(same);
  CHECK(next[0] == 0);
  CHECK(owner.release() == &next);
  owner.reset();
  CHECK(next[0] == 0);
}

}  // namespace train

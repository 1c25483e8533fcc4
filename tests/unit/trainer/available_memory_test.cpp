#include "libtrain/available_memory.hpp"

#include <doctest/doctest.h>

TEST_CASE("this machine has memory") {
  const auto available = train::available_host_bytes();
  if (available) CHECK(*available > 0);
}

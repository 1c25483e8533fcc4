#include "libtrain/parallel/zero.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {

Zero zero_from(int stage) {
  if (stage < 0 || stage > 3) {
    throw Error(fmt::format("--zero {}: the stages are 0, 1, 2 and 3", stage));
  }
  return static_cast<Zero>(stage);
}

}  // namespace train

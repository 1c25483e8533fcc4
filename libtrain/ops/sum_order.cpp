#include "libtrain/ops/sum_order.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {

SumOrder sum_order_from(std::string_view text) {
  if (text == "fixed") return SumOrder::fixed;
  if (text == "any") return SumOrder::any;
  throw Error(fmt::format("--sum-order {}: fixed and any are known", text));
}

}  // namespace train

#include "collectives/wide/protocol/types.hpp"

#include <fmt/format.h>

namespace train::wide {

std::string to_string(const ExchangeId& id) {
  return fmt::format("epoch {} round {} attempt {}", id.epoch, id.round, id.attempt);
}

}  // namespace train::wide

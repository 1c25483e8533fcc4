#include "collectives/work.hpp"

namespace train {

void Work::wait() {
  static_cast<void>(wait_until(Deadline::max()));
}

bool Work::wait_until(Deadline deadline) {
  return !state_ || state_->wait_until(deadline);
}

}  // namespace train

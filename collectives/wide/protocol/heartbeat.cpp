#include "collectives/wide/protocol/heartbeat.hpp"

#include <algorithm>
#include <cstdlib>

namespace train::wide {

HeartbeatDeadline::HeartbeatDeadline(const HeartbeatConfig& config, TimeMs now_ms)
    : config_(config),
      alive_ms_(now_ms),
      mean_x8_(config.interval_ms * 8),
      deviation_x4_(config.interval_ms * 2) {}

void HeartbeatDeadline::beat(TimeMs now_ms) {
  if (measuring_) {
    const TimeMs error = (now_ms - beat_ms_) - mean_x8_ / 8;
    mean_x8_ += error;
    deviation_x4_ += std::abs(error) - deviation_x4_ / 4;
  }
  measuring_ = true;
  beat_ms_ = now_ms;
  alive(now_ms);
}

void HeartbeatDeadline::alive(TimeMs now_ms) {
  alive_ms_ = std::max(alive_ms_, now_ms);
}

TimeMs HeartbeatDeadline::deadline_ms() const {
  const TimeMs patience = mean_x8_ / 8 + config_.deviations * deviation_x4_ / 4;
  return alive_ms_ + std::clamp(patience, config_.floor_ms, config_.ceiling_ms);
}

}  // namespace train::wide

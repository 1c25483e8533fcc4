#pragma once

#include "collectives/wide/protocol/types.hpp"

namespace train::wide {

/// A heartbeat goes the way of an exchange's values: through a queue that is full, where one packet
/// in five may be lost, to be sent again a second later, or after 2, 4, … where the system has no
/// limit for that. Who was only slow costs everybody an exchange. A process that ends closes its
/// connection, and is not waited for at all.
struct HeartbeatConfig {
  TimeMs interval_ms = 500;
  TimeMs floor_ms = 8000;     // never give up on a peer sooner
  TimeMs ceiling_ms = 30000;  // nor wait longer
  int deviations = 6;
};

/// Until when silence is no reason to give up on a peer: the last sign of life plus the smoothed
/// gap between heartbeats plus some of its smoothed mean deviations (gains 1/8 and 1/4, as TCP
/// estimates round trips: RFC 6298), between a floor and a ceiling.
class HeartbeatDeadline {
 public:
  HeartbeatDeadline() = default;
  HeartbeatDeadline(const HeartbeatConfig& config, TimeMs now_ms);

  /// A heartbeat arrived: counts into the estimate.
  void beat(TimeMs now_ms);
  /// Any other sign of life.
  void alive(TimeMs now_ms);
  TimeMs deadline_ms() const;

 private:
  HeartbeatConfig config_;
  TimeMs alive_ms_ = 0;
  TimeMs beat_ms_ = 0;
  TimeMs mean_x8_ = 0, deviation_x4_ = 0;  // scaled, to keep fractions in integers
  bool measuring_ = false;
};

}  // namespace train::wide

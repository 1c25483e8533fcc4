#pragma once

#include "collectives/traffic.hpp"
#include "libtrain/forecast/traffic_forecast.hpp"

/// What communicators count, beside what is forecast.
namespace volumes {

/// What `after` counts beyond `before`.
inline train::StepTraffic sent_between(const train::Traffic& before, const train::Traffic& after) {
  const auto bytes = [&](train::TrafficOf train::Traffic::*kind) {
    return static_cast<double>((after.*kind).bytes_sent - (before.*kind).bytes_sent);
  };
  return {bytes(&train::Traffic::all_reduce), bytes(&train::Traffic::reduce_scatter),
          bytes(&train::Traffic::all_gather), bytes(&train::Traffic::all_to_all), 0.0};
}

}  // namespace volumes

#include "libtrain/rounds/round_options.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/wide/stream/link.hpp"
#include "collectives/wide/stream/local_address.hpp"

namespace train {

Synchronisation synchronisation_from(const std::string& text) {
  if (text == "rounds") return Synchronisation::rounds;
  if (text == "every-step") return Synchronisation::every_step;
  throw Error(fmt::format("--sync {} is unknown; there are rounds and every-step", text));
}

RoundOptions RoundOptions::checked() const {
  RoundOptions options = *this;
  constexpr std::int64_t inner_steps_max = 1'000'000'000;
  if (inner_steps < 1 || inner_steps > inner_steps_max) {
    throw Error(fmt::format("--inner-steps is {}; it is 1 to {}", inner_steps, inner_steps_max));
  }
  if (fragments < 1 || fragments > inner_steps) {
    throw Error(fmt::format("--fragments is {}; it must be from 1 to the {} --inner-steps",
                            fragments, inner_steps));
  }
  outer.validate();
  if (synchronisation == Synchronisation::every_step) {
    options.inner_steps = 1;
    if (overlap_steps != 0) {
      throw Error("--overlap-rounds needs --sync rounds: every step waits for its own exchange");
    }
    if (fragments != 1) throw Error("--fragments needs --sync rounds: every step exchanges all");
  }
  const std::int64_t round_steps = options.inner_steps / fragments;
  if (overlap_steps < 0 || (overlap_steps > 0 && overlap_steps >= round_steps)) {
    throw Error(
        fmt::format("--overlap-rounds is {}; it must be below the {} steps between "
                    "exchanges ({} --inner-steps, {} --fragments)",
                    overlap_steps, round_steps, options.inner_steps, fragments));
  }
  if (round_time < std::chrono::milliseconds(0)) {
    throw Error("--round-seconds must not be negative");
  }
  return options;
}

JobOptions JobOptions::checked() const {
  const int count = streams.value_or(1);
  if (count < 1 || count > wide::LinkOptions::streams_max) {
    throw Error(fmt::format("--streams is {}; it must be from 1 to {}", count,
                            wide::LinkOptions::streams_max));
  }
  if (leave_notice < std::chrono::milliseconds(0)) {
    throw Error("--leave-notice must not be negative");
  }
  egress.validate();
  // Others are told the address: it is to fail here, not there.
  const auto require = [](const std::string& flag, const std::string& address) {
    try {
      wide::require_address(address);
    } catch (const Error& error) {
      throw Error(fmt::format("{} {}", flag, error.what()));
    }
  };
  for (const std::string& address : coordinator) require("--coordinator", address);
  for (const std::string& address : advertise) require("--advertise", address);
  if (!listen.empty()) require("--listen", listen);
  return *this;
}

RoundPlan RoundPlan::checked() const {
  const auto require = [](bool holds, const char* what, std::int64_t value) {
    if (!holds) throw Error(fmt::format("a job's plan of {} {} cannot be", value, what));
  };
  require(steps >= 1, "steps", steps);
  if (last_step < 1 || last_step > steps) {
    throw Error(
        fmt::format("--stop-at is {}; it must lie between 1 and --steps {}", last_step, steps));
  }
  require(batch >= 1, "sequences in a batch", batch);
  require(context >= 1, "tokens in a sequence", context);
  return *this;
}

}  // namespace train

#pragma once

#include <optional>

#include "collectives/wide/service/coordinator_server.hpp"

namespace train::wide {

/// What the command line says, or the status to end with: help was asked for, or a flag is wrong
/// (both said on the way).
struct CoordinatorArguments {
  std::optional<int> status;
  CoordinatorServerOptions options;
};
CoordinatorArguments parse_coordinator_arguments(int argc, char** argv);

}  // namespace train::wide

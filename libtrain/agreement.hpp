#pragma once

#include <string>

#include "collectives/communicator.hpp"

namespace train {

/// The text of the lowest rank whose text is not empty, on every rank; "" when all are. Collective.
std::string first_said(Communicator& ranks, const std::string& text);

}  // namespace train

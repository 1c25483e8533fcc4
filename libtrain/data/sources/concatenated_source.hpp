#pragma once

#include <memory>
#include <vector>

#include "libtrain/data/token_source.hpp"

namespace train::detail {

/// One sequence of several, in order. A single part is handed back as it is; none is refused.
std::shared_ptr<const TokenSource> concatenate(
    std::vector<std::shared_ptr<const TokenSource>> parts);

}  // namespace train::detail

#pragma once

#include <string>
#include <string_view>

namespace train {

/// Text of a model as a terminal may have it: what is no valid UTF-8, and control characters other
/// than line ends and tabs, stand as '?'.
std::string shown_text(std::string_view text);

}  // namespace train

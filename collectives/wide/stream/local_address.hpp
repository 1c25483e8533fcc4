#pragma once

#include <string>

namespace train::wide {

/// The host under which others reach what listens on `listen` ("host:port"): its own host, or where
/// that is a wildcard (0.0.0.0, [::]) this machine's address on the way to `towards`. Throws Error
/// that names the address. Sends nothing.
std::string reachable_host(const std::string& listen, const std::string& towards);

}  // namespace train::wide

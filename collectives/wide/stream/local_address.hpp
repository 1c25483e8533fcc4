#pragma once

#include <string>
#include <vector>

namespace train::wide {

/// Throws Error unless it is "host:port" or "[v6]:port", of at most 300 bytes.
void require_address(const std::string& text);

/// The host under which others reach what listens on `listen` ("host:port"): its own host, or where
/// that is a wildcard (0.0.0.0, [::]) this machine's address on the way to the first of `towards`
/// that says one; for 0.0.0.0 one of IPv4, since it listens to nothing else. Throws Error that
/// names the addresses. Sends nothing.
std::string reachable_host(const std::string& listen, const std::vector<std::string>& towards);

/// Any free port of the wildcard at which others arrive who come from where `towards` are: 0.0.0.0
/// where IPv4 leads there, else [::].
std::string listen_anywhere(const std::vector<std::string>& towards);

}  // namespace train::wide

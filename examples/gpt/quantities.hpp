#pragma once

#include <cstdint>
#include <string>

/// Amounts with their units, as people write them. Throw train::Error that names the flag.

/// "80GB" (10^9), "79GiB" (2^30), MB, MiB, TB, TiB.
std::int64_t parse_bytes(const std::string& text, const char* flag);
/// Bytes per second: "300GB/s", "50MB/s", or in bits as networks are sold, "400gbit", "100mbit".
double parse_bytes_per_s(const std::string& text, const char* flag);
/// "80.0 GB".
std::string shown_bytes(double bytes);
